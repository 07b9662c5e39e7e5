"""One PostgreSQL for a run of the tests, with a database for each test. Without PostgreSQL the tests are skipped."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.migrations import migrate
from tests.support.fixtures import SHM
from verification import postgres_server as servers
from verification.postgres_server import TEMPLATE, PostgresServer, PostgresUnavailable

_FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=200", "autovacuum_naptime=10s")
SQLITE, POSTGRES = "sqlite", "postgres"  # the engines, as STORE names them


def start(run: int, *settings: str, hba: str = "") -> PostgresServer:
    """Start a server that ends when the process `run` is gone. `hba` replaces the rules of who may connect.

    Skips the test if no server can run here.
    """
    folder = _new_folder()
    try:
        with skipped_without_server():
            return servers.start(folder, run, settings, hba=hba)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def skipped_without_server() -> Iterator[None]:
    """Skip the test, and name the reason, if no server can run here."""
    try:
        yield
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))


@contextlib.contextmanager
def folder_of_server() -> Iterator[Path]:
    """A folder that belongs to the user of the server."""
    folder = _new_folder()
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path:
    """A folder in memory if possible, with a path that is short enough for a Unix socket."""
    return Path(tempfile.mkdtemp(prefix="aa-pg-", dir=SHM if os.access(SHM, os.W_OK) else None))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server of this run. All workers of xdist share it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        server = _with_template(start(os.getpid(), *_FAST, "listen_addresses="))
        try:
            yield server
        finally:
            server.stop()
        return
    shared = tmp_path_factory.getbasetemp().parent  # of all workers
    note = shared / "postgres.json"
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            started = _with_template(start(os.getppid(), *_FAST, "listen_addresses="))  # the parent runs the workers
            note.write_text(json.dumps(asdict(started)))
    yield PostgresServer(**json.loads(note.read_text()))


def _with_template(server: PostgresServer) -> PostgresServer:
    async def make() -> None:
        await server.execute(f"CREATE DATABASE {TEMPLATE}")
        pool = await open_pool(Server.parse(server.url(TEMPLATE)))
        await migrate(pool)
        await pool.close()

    asyncio.run(make())
    return server


@pytest.fixture
async def empty_database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with postgres_server.database("template0") as url:
        yield url


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of a database with the schema."""
    async with postgres_server.database() as url:
        yield url


@pytest.fixture
def database_server(request: pytest.FixtureRequest) -> PostgresServer | None:
    """The server of a test on PostgreSQL; None for a test on SQLite. `on_each_engine` sets the parameter."""
    return None if getattr(request, "param", SQLITE) == SQLITE else request.getfixturevalue("postgres_server")


def on_each_engine(metafunc: pytest.Metafunc) -> None:
    """Run a test with the mark `both_engines` on both. `STORE=postgres` runs all tests with a store on PostgreSQL."""
    chosen = os.environ.get("STORE", SQLITE)
    if "database_server" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("state_file"):
        each = metafunc.definition.get_closest_marker("both_engines") is not None
        names = [SQLITE, POSTGRES] if each and chosen == SQLITE else [chosen]
        if names != [SQLITE]:
            metafunc.parametrize("database_server", names, indirect=True)
