"""The stores of these tests are in memory: what they prove is what an engine was told to do, not what a disk does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import in_memory
from tests.support.postgres_server import database, postgres_server

from .engines import Engine

__all__ = ["database", "postgres_server"]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A store of each engine. Nothing is opened yet."""
    return Engine.create(tmp_path, None if request.param == "sqlite" else request.getfixturevalue("database"))


@pytest.fixture
def both(tmp_path: Path, database: str) -> tuple[Engine, Engine]:
    """A store on SQLite, and one on PostgreSQL."""
    return Engine.create(tmp_path / "sqlite", None), Engine.create(tmp_path / "postgres", database)
