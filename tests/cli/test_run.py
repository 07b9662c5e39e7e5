"""`run`: the whole agent in a separate process, with the built-in sandbox, until it ends."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_runner import FREE_PORT, Here, finish, spawn, wait_for
from verification.builders.pictures import jpeg
from verification.builders.request_files import IDENTITY_CARD, capture, upload, write

FAST = {"POLL_INTERVAL": "1s"}
ONCE = ("run", "--sandbox", "--once", *FREE_PORT)


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[str]"]]:
    """Started processes, which are killed if a test fails."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def three_requests(folder: Path) -> None:
    write(folder / "images/front.jpg", jpeg("sandbox-delay=10ms"))
    write(folder / "images/rejected.jpg", jpeg("sandbox-outcome=rejected sandbox-delay=10ms"))
    write(folder / "specs/a.yaml", upload("customer-a", {"front": "front.jpg"}))
    write(folder / "specs/b.yaml", upload("customer-b", {"front": "rejected.jpg"}))
    write(folder / "specs/c.yaml", capture("customer-c"))


def test_three_requests_are_settled_and_reported(here: Here) -> None:
    """[I1] [I5]"""
    three_requests(here.folder)
    said = finish(spawn(here.folder, *ONCE, **FAST))
    assert said.code == 0, said
    assert said.err == ""
    lines = said.out.splitlines()
    assert "customer-a: accepted" in lines
    assert "customer-b: rejected" in lines
    assert "customer-c: accepted" in lines
    assert "customer-c: capture link ready, a simulated end user completes the flow now" in lines
    assert "/assure/capture/" not in said.out  # the link itself is a secret [I6]
    assert lines[-3].split()[:-1] == ["customer-a", "upload", "done", "done", "accepted", "-"]
    assert (here.folder / "state/sandbox/agent.db").stat().st_mode & 0o777 == 0o600
    items = here("get", "-o", "json").json["items"]
    assert [item["outcome"] for item in items] == ["accepted", "rejected", "accepted"]
    assert here("audit", "verify").code == 0


def test_a_held_request_is_exit_code_3_before_5_and_4(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("held", {"front": "front.jpg"}, document_id=IDENTITY_CARD))
    write(here.folder / "specs/b.yaml", upload("refused", {"front": "no/such.jpg"}))
    said = finish(spawn(here.folder, *ONCE, **FAST))
    assert said.code == 3, said
    assert "held: held, back-image-required" in said.out
    assert "refused: b.yaml:" in said.out


def test_withdrawals_that_wait_for_approval_are_reported_and_exit_code_3(here: Here) -> None:
    """Waiting withdrawals count as held. After the approval they are withdrawn, and the exit code is 0."""
    paths = [
        write(here.folder / f"specs/{name}.yaml", upload(name, {"front": "front.jpg"}, suspend=True))
        for name in "abcde"
    ]
    assert finish(spawn(here.folder, *ONCE, **FAST)).code == 0
    for path in paths[:4]:
        path.unlink()
    said = finish(spawn(here.folder, *ONCE, **FAST))
    assert said.code == 3, said
    assert "4 withdrawals wait for approval" in said.err
    assert here("approve", "--yes").code == 0
    assert finish(spawn(here.folder, *ONCE, **FAST)).code == 0
    outcomes = [item["outcome"] for item in here("get", "-o", "json").json["items"]]
    assert outcomes == ["withdrawn"] * 4 + [None]


def test_refused_files_are_exit_code_5_and_unsettled_requests_at_the_timeout_4(here: Here) -> None:
    write(here.folder / "images/slow.jpg", jpeg("sandbox-delay=10m"))
    write(here.folder / "specs/slow.yaml", upload("slow", {"front": "slow.jpg"}))
    assert finish(spawn(here.folder, *ONCE, "--timeout", "1s", **FAST)).code == 4
    write(here.folder / "specs/broken.yaml", "nonsense")
    said = finish(spawn(here.folder, *ONCE, "--timeout", "1s", **FAST))
    assert said.code == 5, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_agent_with_0(
    here: Here, processes: list["subprocess.Popen[str]"], number: signal.Signals
) -> None:
    """[I1] The next run continues the open requests."""
    write(here.folder / "images/slow.jpg", jpeg("sandbox-delay=2s"))
    write(here.folder / "specs/slow.yaml", upload("slow", {"front": "slow.jpg"}))
    process = spawn(here.folder, "run", "--sandbox", *FREE_PORT, **FAST)
    processes.append(process)
    wait_for(process, "metrics: http://127.0.0.1:")
    said = finish(process, number)
    assert said.code == 0, said
    assert "Traceback" not in said.err
    ended = here("get", "-o", "json").json["items"]
    assert [item["name"] for item in ended] == ["slow"]


def test_version_and_help(here: Here) -> None:
    assert here("--version").out.startswith("assure-agent 0.")
    for command in ("run", "get", "validate", "sandbox"):
        said = here(command, "--help")
        assert said.code == 0
        assert "Example: assure-agent" in said.out


def test_the_help_names_the_exit_codes(here: Here) -> None:
    assert "Exit codes: 0 success" in here("--help").out
