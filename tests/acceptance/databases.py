"""The office on a PostgreSQL database, and the programs of the server that make and restore backups."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import AgentError
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.reading.reading import Reading
from tests.acceptance.installed_command import Office
from tests.support.fixtures import SHM
from tests.support.postgres_server import binaries, other_user
from tests.support.timeouts import PATIENT, eventually


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


def program(name: str, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Run a program of the server, as a user that it accepts. Returns its output. Skips the test without it."""
    folder = binaries()
    found = None if folder is None else folder / name
    if found is None or not found.exists():
        on_path = shutil.which(name)
        if on_path is None:
            pytest.skip(f"no {name}: install the programs of PostgreSQL, or set PG_BIN to their folder")
        found = Path(on_path)
    command = [*other_user(), found, *arguments]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(command, input=stdin, capture_output=True, cwd="/", env=environment, timeout=PATIENT)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


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
