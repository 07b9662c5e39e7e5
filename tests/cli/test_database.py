"""Every command on a database: it says and does the same as on a state file."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_runner import FREE_PORT, CommandResult, Here, finish, spawn, wait_for
from tests.support.cutting_proxy import cutting_proxy
from tests.support.fixtures import in_memory
from tests.support.module_databases import databases, name_of
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.timeouts import eventually
from verification.builders.pictures import jpeg
from verification.builders.request_files import IDENTITY_CARD, capture, upload, write

__all__ = ["postgres_server"]

RUN = ("run", "--sandbox", "--once", *FREE_PORT)
IMAGES = {"front": "front.jpg"}
READS = (
    "get",
    "get -o wide",
    "get -o json",
    "get -o yaml customer-a",
    "get -o name",
    "get -o jsonpath={.items[*].name}",
    "get -l team=risk --sort-by age",
    "get --state held",
    "get --phase done --outcome accepted --limit 1",
    "get --reason back-image-required",
    "get customer-q",
    "get customer-a customer-q nothing-like-it",
    "get customer-a --link",
    "explain customer-a",
    "explain customer-h -o json",
    "explain customer-q",
    "describe customer-h",
    "describe customer-a -o json",
    "wait customer-a",
    "wait customer-h",
    "wait --all",
    "wait customer-q",
    "plan",
    "plan -o json",
    "plan -o markdown",
    "diff",
    "claims customer-a",
    "page",
)
CHANGES = (
    "pause",
    "get customer-a",
    "explain customer-h",
    "resume",
    "approve",
    "resolve customer-h",
    "resolve customer-h abandon --yes",
    "resolve --all --state held abandon --yes",
    "rerun customer-a --dry-run",
    "rerun customer-q --yes",
    "forget customer-a --yes",
    "forget customer-q --yes",
    "get -o json",
)
VARYING = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UUID"),
    (r"\b[0-9a-f]{24}\b", "UID"),
    (r"\baa-[0-9a-f]{6}-", "aa-AGENT-"),
    (r"\bh-[0-9a-f]{6}\b", "HOLD"),
    (r"\b(?:\d+(?:ms|[dhms]))+\b", "AGE"),
    (r" +", " "),
)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with databases(postgres_server, "template0") as url:
        yield url


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[dict[str, Path]]:
    """The folders of two agents that did the same: one on a state file, one on the database. By STATE_URL."""
    with in_memory(tmp_path_factory.mktemp("stores")) as folder:
        found = {"sqlite:///state/agent.db": folder / "file", database: folder / "database"}
        running = []
        for url, place in found.items():
            write(place / "images/front.jpg", jpeg("sandbox-delay=10ms"))
            write(place / "specs/a.yaml", upload("customer-a", IMAGES, labels={"team": "risk"}))
            write(place / "specs/b.yaml", upload("customer-b", IMAGES))
            write(place / "specs/c.yaml", capture("customer-c", suspend=True))
            write(place / "specs/h.yaml", upload("customer-h", IMAGES, document_id=IDENTITY_CARD))
            write(place / "specs/wrong.yaml", upload("customer-w", IMAGES).replace("kind", "king"))
            running.append(spawn(place, *RUN, STATE_URL=url))
        assert [finish(one).code for one in running] == [3, 3]
        yield found


def on(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> list[Here]:
    """The commands on both stores."""
    for name in [name for name in os.environ if name.startswith("ASSURE_AGENT_")]:
        monkeypatch.delenv(name)
    found = []
    for url, place in stores.items():
        found.append(Here(place, monkeypatch, capsys))
        found[-1].env["STATE_URL"] = url
    return found


def constant(said: CommandResult, here: Here) -> tuple[int, str, str]:
    """What two stores have in common."""
    texts = [said.out, said.err]
    for number, text in enumerate(texts):
        assert "Traceback" not in text
        text = re.sub(
            r"(database|state file) (at )?" + re.escape(here.env["STATE_URL"].removeprefix("sqlite:///")), "STORE", text
        )
        for pattern, name in VARYING:
            text = re.sub(pattern, name, text)
        texts[number] = text.replace('"file":"state/agent.db"', '"file":null')
    return said.code, texts[0], texts[1]


@pytest.mark.parametrize("commands", [READS, CHANGES], ids=["reads", "changes"])
def test_a_command_says_the_same_as_on_a_state_file(
    stores: dict[str, Path],
    commands: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_file, on_database = on(stores, monkeypatch, capsys)
    for command in commands:
        words = command.split()
        expected, found = constant(on_file(*words), on_file), constant(on_database(*words), on_database)
        assert found == expected, command


@pytest.fixture
def here(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The commands on the database."""
    return on(stores, monkeypatch, capsys)[1]


async def test_a_watch_goes_on_after_an_outage(here: Here, postgres_server: PostgresServer, database: str) -> None:
    async with cutting_proxy(postgres_server.socket()) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name_of(database)}"
        process = spawn(here.folder, "get", "--watch", STATE_URL=url)
        await asyncio.to_thread(wait_for, process, "customer-b")
        proxy.refuse(True)
        await asyncio.to_thread(eventually, lambda: proxy.refused > 2)
        proxy.refuse(False)
        await asyncio.to_thread(here, "rerun", "customer-b", "--yes")
        assert "dossier" in await asyncio.to_thread(wait_for, process, "customer-b")
        said = await asyncio.to_thread(finish, process, signal.SIGINT)
    assert said.code == 0
    said.is_one_clear_error("cannot be reached", code=0)


async def test_a_wait_goes_on_after_an_outage(here: Here, postgres_server: PostgresServer, database: str) -> None:
    name = name_of(database)
    await postgres_server.execute("UPDATE requests SET moving = 1, due_at = 1 WHERE name = 'customer-c'", database=name)
    async with cutting_proxy(postgres_server.socket()) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        process = spawn(here.folder, "wait", "--all", STATE_URL=url)
        await asyncio.to_thread(eventually, lambda: proxy.questions > 5)
        proxy.refuse(True)
        await asyncio.to_thread(eventually, lambda: proxy.refused > 2)
        await postgres_server.execute("UPDATE requests SET moving = 0", database=name)
        proxy.refuse(False)
        said = await asyncio.to_thread(finish, process)
    assert said.code in (0, 3), said
    assert "settled" in said.out


@pytest.mark.parametrize("command", ["get", "get x", "explain x", "plan", "pause", "wait --all", "page", " ".join(RUN)])
@pytest.mark.parametrize("missing", ["database", "server"])
def test_a_database_that_cannot_be_used_is_one_clear_error(
    here: Here, database: str, missing: str, command: str
) -> None:
    url = "postgresql://agent@127.0.0.1:1/agents"
    if missing == "database":
        url = database.replace(name_of(database), "there_is_none")
    here(*command.split(), STATE_URL=url).is_one_clear_error("no such database" if missing == "database" else "reached")


def test_a_database_without_tables_is_like_a_missing_state_file(here: Here, postgres_server: PostgresServer) -> None:
    with databases(postgres_server, "template0") as url:
        empty = {"STATE_URL": url, "STATE_DIR": str(here.folder / "other")}
        assert here("get", **empty).out.startswith("No requests yet.")
        assert here("wait", "--all", **empty).out == "No requests yet.\n"
        said = here("plan", **empty)
        assert f"The database {url} has no tables of an agent yet: `run` creates them, and bills 3 starts." in said.err
        here("pause", **empty).is_one_clear_error("has no tables of an agent yet", "start the agent")
        here("explain", "x", **empty).is_one_clear_error("no request named x")


def test_the_sandbox_removes_no_database(here: Here) -> None:
    here("sandbox", "reset").is_one_clear_error("names a database", code=2)


async def test_an_agent_of_another_machine_is_named(here: Here, postgres_server: PostgresServer, database: str) -> None:
    row = "(gen_random_uuid(), 'far.example:77', 'replica', '1', now(), now() + interval '1 hour')"
    await postgres_server.execute(f"INSERT INTO replicas VALUES {row}", database=name_of(database))
    try:
        (await asyncio.to_thread(here, "page")).is_one_clear_error("another machine (pid 77 on far.example)")
        said = await asyncio.to_thread(here, "version")
        assert "pid 77 on far.example: no answer on this machine" in said.out
    finally:
        await postgres_server.execute("DELETE FROM replicas", database=name_of(database))
