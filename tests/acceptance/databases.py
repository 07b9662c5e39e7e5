"""The office on a PostgreSQL database, and the programs of the server that make and restore backups."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import AgentError
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.reading.reading import Reading
from tests.acceptance.installed_command import Office
from tests.support.timeouts import PATIENT, eventually
from verification.postgres_server import PostgresServer, as_other_user


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
    """The first value of a statement of the superuser; None without rows."""
    rows = asyncio.run(server.execute(sql))
    return rows[0][0] if rows else None


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
    done = subprocess.run(
        [*as_other_user(), *command],
        input=stdin,
        capture_output=True,
        cwd="/",
        env=environment,
        timeout=PATIENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def at(server: PostgresServer) -> tuple[str, ...]:
    """The options with which a program finds the server."""
    return ("-h", server.folder, "-p", str(server.port), "-U", "postgres")
