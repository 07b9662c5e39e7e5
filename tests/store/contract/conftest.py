"""Each test of the contract runs on both engines. Without PostgreSQL, those on PostgreSQL are skipped."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.postgres_server import PostgresServer

from .engines import ENGINES, Engine, PostgresEngine, SqliteEngine


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> PostgresServer | None:
    """The server of the engine; None for SQLite."""
    return None if request.param == SqliteEngine.kind else request.getfixturevalue("postgres_server")


@pytest.fixture
async def engine(tmp_path: Path, server: PostgresServer | None) -> AsyncIterator[Engine]:
    """An empty store on one engine."""
    engine = SqliteEngine(tmp_path) if server is None else PostgresEngine(tmp_path, server)
    await engine.begin()
    yield engine
    await engine.end()
