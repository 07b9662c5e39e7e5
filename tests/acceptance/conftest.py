"""The fixtures of the acceptance tests, and the sources that they run with."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fetching import Commands
from tests.acceptance.installed_command import Office
from tests.acceptance.sources import Folder, Repository
from tests.support.database_contents import contents
from verification.postgres_server import PostgresServer, database_name
from verification.processes import simulated

SOURCES = {"folder": Folder, "git": Repository}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the mark `each_source` with each source. `SOURCE=git` runs all tests with a git source."""
    chosen = os.environ.get("SOURCE", "folder")
    if "source" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("git_source"):
        each = metafunc.definition.get_closest_marker("each_source") is not None
        names = list(SOURCES) if each and chosen == "folder" else [chosen]
        if names != ["folder"]:
            metafunc.parametrize("source", names, indirect=True)


@pytest.fixture
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Folder | Repository:
    """The source of the office."""
    alone = "git" if request.node.get_closest_marker("git_source") else "folder"
    return SOURCES[getattr(request, "param", alone)](tmp_path)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The git commands of the agent."""
    return Commands(tmp_path, monkeypatch)


@pytest.fixture
def store(tmp_path: Path, database_server: PostgresServer | None) -> Iterator[dict[str, Any]]:
    """What an office with its store in an empty database is given; nothing for a state file."""
    if database_server is None:
        yield {}
        return
    name = database_name()
    end = "UPDATE replicas SET until = clock_timestamp()"
    asyncio.run(database_server.create(name, "template0"))
    yield {
        "store": {
            "state_url": database_server.url(name),
            "state_dir": tmp_path / "state",
            "keys_dir": tmp_path / "state" / "keys",
        },
        "rows": lambda: contents(database_server, name),
        "let_lease_end": lambda: asyncio.run(database_server.execute(end, database=name)),
    }
    asyncio.run(database_server.drop(name))


@pytest.fixture
def office(
    tmp_path: Path, source: Folder | Repository, store: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Office]:
    """An office; its parameter, or the mark `sandbox(delay="1s")`, chooses the simulator's options."""
    marker = request.node.get_closest_marker("sandbox")
    options = getattr(request, "param", None) or (marker.kwargs if marker else {})
    (tmp_path / "images").mkdir()
    with simulated(options) as url:
        office = Office(tmp_path, url, **store)
        office.source = source
        yield office
