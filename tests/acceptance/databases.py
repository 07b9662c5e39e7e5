"""The office on a PostgreSQL database, and the programs of the server that make and restore backups."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agent.core.errors import AgentError
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.reading.reading import Reading
from tests.acceptance.installed_command import Office
from tests.support.fixtures import SHM
from tests.support.postgres_server import PostgresServer
from tests.support.timeouts import PATIENT, eventually

_OTHER_USER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")  # PostgreSQL refuses root
_PORT = 5432  # only part of the name of the socket


def use(office: Office, url: str) -> None:
    """Let the commands of the office use this database, with the same STATE_DIR."""
    office.settings |= {"STATE_URL": url, "STATE_DIR": str(office.folder / "state")}


def reading(office: Office) -> Reading:
    """The database of the office, read-only."""
    return open_reading(Settings(state_url=office.settings["STATE_URL"], state_dir=office.folder / "state"))


def records(office: Office) -> dict[str, Record]:
    """All records by name; none while the tables do not exist."""
    try:
        with reading(office) as store:
            return {record.name: record for record in store.all() if record.name is not None}
    except AgentError:
        return {}


def until(office: Office, true: Callable[[dict[str, Record]], bool]) -> None:
    """Return when this is true of the records."""
    eventually(lambda: true(records(office)), lambda: f"{records(office)}\n{office.output[-2000:]}")


def recoveries(office: Office) -> list[tuple[Any, ...]]:
    """The recoveries: the cause, whether it is approved, and whether it is over."""
    with reading(office) as store:
        rows = store.query("SELECT cause, approved_at IS NOT NULL, closed_at IS NOT NULL FROM recoveries")
        return [tuple(row) for row in rows]


def ask(server: PostgresServer, sql: str) -> Any:
    """The first value of a query of the superuser."""

    async def asked() -> Any:
        connection = await asyncpg.connect(host=server.folder, port=server.port, user="postgres", database="postgres")
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(asked())


def program(server: PostgresServer, name: str) -> Path:
    """A program of the version of this server. Skips the test if there is none."""
    found = Path(ask(server, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")) / name
    if not found.exists() and (on_path := shutil.which(name)) is not None:
        found = Path(on_path)
    if not found.exists():
        pytest.skip(f"no {name}: install the programs of PostgreSQL, or set PG_BIN to their folder")
    return found


def execute(*command: str | Path, stdin: bytes = b"") -> bytes:
    """Run a program of the server, as a user that it accepts. Returns its output."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    user = _OTHER_USER if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*user, *command], input=stdin, capture_output=True, cwd="/", env=environment, timeout=PATIENT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def at(server: PostgresServer) -> tuple[str, ...]:
    """The options with which a program finds the server."""
    return ("-h", server.folder, "-p", str(server.port), "-U", "postgres")


@contextmanager
def serving(pg_ctl: Path, folder: Path, *settings: str) -> Iterator[str]:
    """Run a server on the files in `folder/data`, with its socket in `folder`. Yields the URL of `agent`."""
    options = " ".join(f"-c '{setting}'" for setting in (*settings, f"unix_socket_directories={folder}"))
    data = ("-D", folder / "data", "-w", "-t", str(int(PATIENT)))
    execute(pg_ctl, "start", *data, "-l", folder / "log", "-o", f"-p {_PORT} {options}")
    try:
        yield f"postgresql://postgres@:{_PORT}/agent?host={folder}"
    finally:
        execute(pg_ctl, "stop", *data, "-m", "immediate")


@contextmanager
def folder_of_server() -> Iterator[Path]:
    """A folder that belongs to the user of the server."""
    folder = Path(tempfile.mkdtemp(prefix="aa-pg-", dir=SHM if os.access(SHM, os.W_OK) else None))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
