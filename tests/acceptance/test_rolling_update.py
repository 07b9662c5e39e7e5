"""Replicas of two versions on one database, with the installed command: the update that stops no request [I2] [I3]."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agent
from agent import __version__
from agent.store.postgres.versions import MIGRATIONS, NAMES
from tests.acceptance.databases import until, use
from tests.acceptance.installed_command import Office
from tests.acceptance.test_disaster_recovery import starts
from tests.support.timeouts import PATIENT, eventually
from verification.postgres_server import PostgresServer, database_name

pytestmark = [pytest.mark.state_file, pytest.mark.sandbox(delay="1s")]
LEASE = "120s"  # longer than a test waits: work that moves earlier was handed over
_NEXT = "ALTER TABLE requests ADD COLUMN remark_{number} text;"


class Version:
    """A copy of the agent, with more migrations."""

    def __init__(self, folder: Path, office: Office, *migrations: tuple[str, str]) -> None:
        """`migrations`: the name, and the oldest version that can use the database afterwards."""
        self.office = office
        self.number = f"0.2.{len(migrations)}" if migrations else __version__
        self.path = folder / self.number
        package = self.path / "agent"
        shutil.copytree(Path(agent.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        change(package / "__init__.py", lambda text: text.replace(__version__, self.number))
        known = [(one.name, one.oldest) for one in MIGRATIONS]
        listed = ", ".join(f"Migration(name={name!r}, oldest={oldest!r})" for name, oldest in [*known, *migrations])
        change(
            package / "store" / "postgres" / "versions.py",
            lambda text: re.sub(r"^MIGRATIONS = .*$", f"MIGRATIONS = ({listed},)", text, flags=re.MULTILINE),
        )
        for name, _ in migrations:
            script = _NEXT.format(number=name[:4])
            (package / "store" / "postgres" / "schema" / f"{name}.sql").write_text(script)

    def start(self, state: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command of this version."""
        own = {
            "PYTHONPATH": str(self.path),
            "ASSURE_AGENT_STATE_DIR": str(self.office.folder / state),
            "ASSURE_AGENT_REPLICA_LEASE": LEASE,
            "ASSURE_AGENT_KEY_FILE": str(self.office.folder / "shared.key"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", "from agent.cli import main; main()", *(arguments or ("run",))],
            env=self.office.environment | own,
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def change(file: Path, edit: Callable[[str], str]) -> None:
    file.write_text(edit(file.read_text()))


class Fleet:
    """The replicas of a test."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server, self.database = server, database
        self.running: list[subprocess.Popen[str]] = []

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in asyncio.run(self.server.execute(sql, database=self.database))]

    def versions(self) -> list[str]:
        """The versions of the replicas that live."""
        exists = self.rows("SELECT to_regclass('replicas') IS NOT NULL")
        return [row[0] for row in self.rows("SELECT version FROM replicas ORDER BY version")] if exists[0][0] else []

    def run(self, version: Version, state: str) -> "subprocess.Popen[str]":
        """Start a replica, and return when it lives."""
        before = self.versions()
        process = version.start(state)
        self.running.append(process)
        expected = sorted([*before, version.number])
        eventually(lambda: self.versions() == expected, lambda: f"{self.versions()}, not {expected}")
        return process

    def end(self, process: "subprocess.Popen[str]") -> str:
        """End a replica with SIGTERM. Returns its output."""
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENT)
        assert process.returncode == 0, output
        return output


@pytest.fixture
def fleet(office: Office, postgres_server: PostgresServer) -> Iterator[Fleet]:
    name = database_name()
    asyncio.run(postgres_server.create(name, "template0"))
    use(office, postgres_server.url(name))
    (office.folder / "shared.key").write_text("5a" * 32 + "\n")
    (office.folder / "shared.key").chmod(0o600)
    fleet = Fleet(postgres_server, name)
    try:
        yield fleet
    finally:
        for process in fleet.running:
            process.kill()
            process.communicate()
        asyncio.run(postgres_server.drop(name))


def done(office: Office, *names: str) -> None:
    until(office, lambda items: all(name in items and items[name].phase == "done" for name in names))


def test_an_update_replaces_one_replica_after_the_other(office: Office, fleet: Fleet, tmp_path: Path) -> None:
    """Work that a replica had under way is continued by one of the other version, before the lease is over."""
    old = Version(tmp_path, office)
    new = Version(tmp_path, office, ("0002_next", NAMES[-1]))
    first = fleet.run(old, "first")
    refused, _ = new.start("operator", "pause").communicate(timeout=PATIENT)
    assert f"belongs to an older version of the agent (migration {NAMES[-1]})" in refused
    assert fleet.rows("SELECT name FROM migrations") == [(NAMES[-1],)]
    office.upload("before")
    until(office, lambda items: "before" in items and items["before"].billed)
    second = fleet.run(new, "second")
    assert fleet.versions() == [old.number, new.number]
    office.upload("between")
    done(office, "before", "between")
    office.upload("moved")
    until(office, lambda items: "moved" in items and items["moved"].billed)
    assert "Traceback" not in fleet.end(first)
    assert fleet.versions() == [new.number]
    done(office, "moved")
    again = fleet.run(old, "first")  # a rollback of one replica
    fleet.end(second)
    office.upload("after")
    done(office, "after")
    fleet.end(again)
    assert sorted(starts(office).values()) == [1, 1, 1, 1]
    assert (office.left_behind(), office.ledger()["violations"]) == ([], [])


def test_a_version_that_can_no_longer_use_the_database_ends_with_one_error(
    office: Office, fleet: Fleet, tmp_path: Path
) -> None:
    old = Version(tmp_path, office)
    new = Version(tmp_path, office, ("0002_next", NAMES[-1]), ("0003_contract", "0003_contract"))
    process = fleet.run(old, "first")
    office.upload("before")
    done(office, "before")
    migrated, _ = new.start("second", "store", "migrate").communicate(timeout=PATIENT)
    assert migrated.splitlines() == ["applied the migration 0002_next", "applied the migration 0003_contract"]
    output, _ = process.communicate(timeout=PATIENT)
    assert process.returncode == 1
    errors = [line for line in output.splitlines() if line.startswith("assure-agent: ")]
    assert len(errors) == 1
    assert "A newer version of the agent has replaced the functions of" in errors[0]
    assert "Traceback" not in output
    refused, _ = old.start("first").communicate(timeout=PATIENT)
    assert "was written by a newer version of the agent (migration 0003_contract)" in refused
    assert "Traceback" not in refused
    functions = fleet.rows("SELECT name, cardinality(functions) > 0 FROM migrations ORDER BY name")
    assert functions == [(NAMES[-1], False), ("0002_next", False), ("0003_contract", True)]
    (leftover,) = fleet.rows(r"SELECT count(*) FROM pg_proc WHERE proname ~ '^commit_batch_'")
    assert leftover == (1,)
