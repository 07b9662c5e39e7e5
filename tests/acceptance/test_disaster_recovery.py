"""The ground gives way: the installed command against real files, real signals and a real kill."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.core.record import Record
from agent.store.sqlite.connection import sqlite3
from tests.acceptance.installed_command import NEVER, Office
from tests.support.stores import records
from tests.support.timeouts import PATIENT, eventually
from verification.processes import COMMAND

pytestmark = pytest.mark.state_file  # a database is restored by its operator


def until(office: Office, true: Callable[[dict[str, Record]], bool]) -> None:
    eventually(lambda: true(records(state(office))), lambda: records(state(office)))


def state(office: Office, name: str = "agent.db") -> Path:
    return office.folder / "state" / name


def recoveries(office: Office) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{state(office)}?mode=ro", uri=True) as connection:
        return connection.execute(
            "SELECT cause, approved_at IS NOT NULL, closed_at IS NOT NULL FROM recoveries"
        ).fetchall()


def starts(office: Office) -> dict[str, int]:
    """Starts by external reference."""
    return {
        dossier["externalReference"]: sum(process["starts"] for process in dossier["processes"])
        for dossier in office.ledger()["dossiers"]
    }


@pytest.mark.sandbox(delay="100ms")
def test_a_restore_drill(office: Office) -> None:
    """[I1] [I2] [I3] [I5] Run, back up, go on, kill, restore, run: nothing is billed twice, and all settles."""
    for name in ("done", "late"):
        office.upload(name)
    office.settings["POLL_INTERVAL"] = NEVER
    with office.running() as process:
        until(office, lambda items: len(items) == 2 and items["late"].phase == "result")
        assert office.run("backup", str(office.folder / "kept.db")) == 0
        assert office.run("restore", "--yes", str(office.folder / "kept.db")) == 1  # an agent runs
        assert f"pid {process.pid}" in office.output
        office.upload("since")
        office.source.publish()
        until(office, lambda items: "since" in items and items["since"].phase == "result")
        process.kill()
        process.wait()
    assert office.run("restore", "--yes", str(office.folder / "kept.db")) == 0
    del office.settings["POLL_INTERVAL"]
    assert list(state(office).parent.glob("replaced-*.db"))
    office.upload("new")
    with office.running():
        until(office, lambda items: all(items[name].state == "done" for name in ("done", "late", "since")))
        until(office, lambda items: items["new"].state == "held")
        assert office.items()["new"]["reason"] == "history-lost"
        assert office.run("approve", "--yes") == 0
        until(office, lambda items: items["new"].state == "done")
    assert {item["outcome"] for item in office.items().values()} == {"accepted"}
    assert sorted(starts(office).values()) == [1, 1, 1, 1]
    assert office.left_behind() == []
    assert office.run("audit", "verify") == 0
    assert recoveries(office) == [("restored", 1, 1)]


@pytest.mark.sandbox(delay="100ms")
def test_a_lost_state_file_after_a_kill_is_recovered_from_assure(office: Office) -> None:
    """[I1] [I2] [I3]"""
    names = [f"a-{number}" for number in range(6)]
    for name in names:
        office.upload(name)
    office.settings["POLL_INTERVAL"] = NEVER
    with office.running() as process:
        until(office, lambda items: {item.phase for item in items.values()} == {"result"} and len(items) == 6)
        process.kill()
        process.wait()
    for path in state(office).parent.glob("agent.db*"):
        path.unlink()
    del office.settings["POLL_INTERVAL"]
    assert office.run("run", "--once") == 0
    assert {item["outcome"] for item in office.items().values()} == {"accepted"}
    assert sorted(starts(office).values()) == [1] * 6
    assert office.left_behind() == []
    assert office.run("audit", "verify") == 0  # it was killed before there was a checkpoint of what is gone
    (lost,) = recoveries(office)
    assert lost[0] == "lost"


def test_a_lost_state_file_bills_nothing_that_assure_does_not_show(office: Office) -> None:
    """[I2] What is done left no trace: it is held, and the command says so with 3."""
    office.upload("a")
    assert office.run("run", "--once") == 0
    state(office).unlink()
    assert office.run("run", "--once") == 3
    assert office.items()["a"]["reason"] == "history-lost"
    assert "assure-agent approve" in office.output
    assert sorted(starts(office).values()) == [1]
    assert office.run("resolve", "a", "abandon") == 0
    assert office.run("run", "--once") == 0
    assert sorted(starts(office).values()) == [1]


@pytest.mark.sandbox(delay="2s")
def test_an_agent_that_was_stopped_for_a_while_continues_and_starts_nothing_twice(office: Office) -> None:
    """[I1] [I2] After SIGSTOP its timeouts fire. The calls that they cut off are unknown, not lost."""
    office.settings |= {"REQUEST_TIMEOUT": "1s"}
    names = [f"a-{number}" for number in range(8)]
    with office.running() as process:
        for name in names:
            office.upload(name)
        office.source.publish()
        until(office, lambda items: len(items) >= 3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # longer than the timeout, and than the verification takes
        process.send_signal(signal.SIGCONT)
        until(office, lambda items: len(items) == 8 and all(item.state == "done" for item in items.values()))
    assert {item["outcome"] for item in office.items().values()} == {"accepted"}
    assert sum(starts(office).values()) == 8
    assert office.left_behind() == []
    assert office.run("audit", "verify") == 0


def test_a_state_file_that_cannot_be_used_is_reported_in_one_line(office: Office) -> None:
    office.upload("a")
    assert office.run("run", "--once") == 0
    with state(office).open("r+b") as file:
        file.truncate(20_000)
    before = office.ledger()["dossiers"]
    assert office.run("run", "--once") == 1
    last = office.output.splitlines()[-1]
    assert last.startswith("assure-agent: The state file")
    assert " Try: restore the newest backup" in last
    assert office.ledger()["dossiers"] == before


@pytest.mark.sandbox(delay="1s")
def test_a_full_disk_ends_the_agent_and_nothing_is_lost(office: Office) -> None:
    """[I1] [I2] [I4] What could not be committed was not asked for; once there is room, all goes on."""
    names = [f"a-{number}" for number in range(12)]
    for name in names:
        office.upload(name)
    limited = ["prlimit", "--fsize=700000", *COMMAND, "run"]
    if shutil.which("prlimit") is None:
        pytest.skip("there is no prlimit")
    office.source.publish()
    done = subprocess.run(limited, env=office.environment, capture_output=True, text=True, timeout=PATIENT)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "free space" in done.stderr.splitlines()[-1]
    assert office.run("run", "--once") == 0
    assert {item["outcome"] for item in office.items().values()} == {"accepted"}
    assert sum(starts(office).values()) == 12
    assert office.left_behind() == []
    assert office.run("audit", "verify") == 0
