"""The stores of these tests are in memory: the tests prove what an engine is asked to do, not what a disk does."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import in_memory
from tests.support.postgres_server import PostgresServer, database, postgres_server

from .engines import ENGINES, Engine, PostgresEngine, SqliteEngine

__all__ = ["database", "postgres_server"]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> PostgresServer | None:
    """The server of the engine; None for SQLite. Without PostgreSQL, the tests on PostgreSQL are skipped."""
    return None if request.param == SqliteEngine.kind else request.getfixturevalue("postgres_server")


@pytest.fixture
async def engine(tmp_path: Path, server: PostgresServer | None) -> AsyncIterator[Engine]:
    """An empty store on one engine."""
    engine = SqliteEngine(tmp_path) if server is None else PostgresEngine(tmp_path, server)
    await engine.begin()
    yield engine
    await engine.end()


@pytest.fixture
async def both(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[tuple[Engine, Engine]]:
    """An empty store on SQLite, and one on PostgreSQL."""
    engines = SqliteEngine(tmp_path / "sqlite"), PostgresEngine(tmp_path / "postgres", postgres_server)
    for engine in engines:
        await engine.begin()
    yield engines
    for engine in engines:
        await engine.end()
