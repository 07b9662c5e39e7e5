"""A failed output must not harm the work [I1]: only lines of the log and the progress are lost."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIG_DFL, SIGHUP, SIGTERM, signal
from urllib.request import urlopen

import orjson
import pytest

from agent.core.record import Phase
from tests.cli.command_runner import COMMAND, FREE_PORT, Here
from tests.support.stores import records
from tests.support.timeouts import PATIENT, eventually
from verification.builders.request_files import upload, write

FAST = {"SCAN_INTERVAL": "200ms", "POLL_INTERVAL": "100ms", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}


@contextmanager
def full_disk() -> Iterator[int]:
    handle = os.open("/dev/full", os.O_WRONLY)
    yield handle
    os.close(handle)


@contextmanager
def dead_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def stuck_reader() -> Iterator[int]:
    """A full pipe without a reader: a write to it never returns."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@contextmanager
def lost_terminal() -> Iterator[int]:
    master, slave = os.openpty()
    os.close(master)  # writing is EIO from now on
    yield slave
    os.close(slave)


PLACES = [full_disk, dead_reader, stuck_reader, lost_terminal]


def environment(here: Here, **env: str) -> dict[str, str]:
    given = {f"ASSURE_AGENT_{name}": value for name, value in (here.env | FAST | env).items()}
    return {"PATH": os.environ["PATH"], **given}


def start(here: Here, *arguments: str, before: tuple[str, ...] = (), **streams: int) -> "subprocess.Popen[bytes]":
    """Start an agent. SIGHUP ends it unless `before` ignores the signal, also if these tests run under nohup."""
    return subprocess.Popen(
        [*before, *COMMAND, "run", "--sandbox", *FREE_PORT, *arguments],
        cwd=here.folder,
        env=environment(here),
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal(SIGHUP, SIG_DFL),
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams},
    )


def request(here: Here, name: str) -> None:
    write(here.folder / f"specs/{name}.yaml", upload(name, {"front": "front.jpg"}))


def outcomes(here: Here) -> dict[str, str | None]:
    found = records(here.folder / "state/sandbox/agent.db")
    return {name: record.outcome for name, record in found.items() if record.phase is Phase.DONE}


def end(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(SIGTERM)
    return process.wait(PATIENT)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_log_that_cannot_be_written_delays_no_request(here: Here, place: Callable[[], "contextmanager[int]"]) -> None:
    request(here, "a")
    with place() as handle:  # type: ignore[attr-defined]
        process = start(here, stdout=handle, stderr=handle)
        try:
            eventually(lambda: outcomes(here) == {"a": "accepted"})
            request(here, "b")
            eventually(lambda: outcomes(here) == {"a": "accepted", "b": "accepted"})
            assert end(process) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("place", [dead_reader, stuck_reader], ids=lambda place: place.__name__)
def test_a_run_once_without_a_reader_completes_its_work(here: Here, place: Callable[[], "contextmanager[int]"]) -> None:
    """One case is `assure-agent run --once | head -1`."""
    for name in "abc":
        request(here, name)
    with place() as handle:  # type: ignore[attr-defined]
        process = start(here, "--once", stdout=handle, stderr=handle)
        assert process.wait(PATIENT) == 0
    assert outcomes(here) == dict.fromkeys("abc", "accepted")


def test_a_log_on_a_full_disk_continues_with_the_number_of_lost_lines(here: Here) -> None:
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    mounted = 'mount -t tmpfs -o size=16k tmpfs /mnt && echo x > /mnt/ballast && exec "$@" 2>> /mnt/log'
    request(here, "a")
    process = start(here, before=("unshare", "-rm", "sh", "-c", mounted, "sh"), stdout=subprocess.PIPE)
    disk = Path(f"/proc/{process.pid}/root/mnt")
    assert process.stdout is not None
    try:
        url = next(line.split()[-1].decode() for line in process.stdout if b"metrics: " in line)

        def lost() -> float:
            found = re.search(r"^assure_agent_log_lines_lost_total (\S+)", urlopen(url).read().decode(), re.M)
            assert found is not None
            return float(found[1])

        eventually(lambda: outcomes(here) == {"a": "accepted"})
        assert lost() == 0
        with pytest.raises(OSError, match="No space"):
            (disk / "ballast").write_bytes(bytes(64 * 1024))
        names = [f"b{number}" for number in range(12)]
        for name in names:
            request(here, name)
        eventually(lambda: outcomes(here) == dict.fromkeys(["a", *names], "accepted"))
        eventually(lambda: lost() > 0)
        (disk / "ballast").unlink()
        request(here, "c")
        eventually(lambda: b"lines were lost" in (disk / "log").read_bytes())
        lines = (disk / "log").read_text().splitlines()
        parsed = [orjson.loads(line) for line in lines if line.endswith("}")]
        assert len(parsed) >= len(lines) - 1  # at most one was torn when the disk was full
        reported = [line for line in parsed if line["event"] == "log lines were lost"]
        assert sum(line["count"] for line in reported) <= lost()
        assert end(process) == 0
    finally:
        process.kill()
        process.stdout.close()


def test_a_closed_terminal_ends_the_agent_unless_it_runs_under_nohup(here: Here) -> None:
    """After SIGHUP, open answers are saved. If the caller ignores SIGHUP, it remains ignored."""
    request(here, "a")
    process = start(here)
    try:
        eventually(lambda: outcomes(here) == {"a": "accepted"})
        process.send_signal(SIGHUP)
        assert process.wait(PATIENT) == 0
    finally:
        process.kill()
    if shutil.which("nohup") is None:
        pytest.skip("there is no nohup")
    process = start(here, before=("nohup",))
    try:
        request(here, "b")
        eventually(lambda: outcomes(here) == {"a": "accepted", "b": "accepted"})
        process.send_signal(SIGHUP)
        request(here, "c")
        eventually(lambda: "c" in outcomes(here))
        assert end(process) == 0
    finally:
        process.kill()


def said(here: Here, *arguments: str, stdout: int) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=here.folder,
        env=environment(here),
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=PATIENT,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "arguments", [("get",), ("schema",), ("--help",), ("doctor", "--offline", "-o", "json")], ids=" ".join
)
def test_a_command_whose_reader_ends_is_silent(here: Here, arguments: tuple[str, ...]) -> None:
    """As in `assure-agent get | head -1`. The exit code is the one that a shell reports for SIGPIPE."""
    with dead_reader() as handle:
        assert said(here, *arguments, stdout=handle) == (141, "")


def test_an_answer_that_cannot_be_written_is_an_error(here: Here) -> None:
    with full_disk() as handle:
        code, err = said(here, "schema", stdout=handle)
    assert code == 1
    assert err.removeprefix("assure-agent: ").startswith("The output cannot be written: No space left on device. ")
    assert err.endswith(" Try: free disk space, or write the output to another file.\n")


@pytest.mark.parametrize(
    "fault", [{"POLL_INTERVAL": "soon"}, {"CLIENT_SECRET": ""}, {"STATE_URL": "sqlite:////proc/x"}]
)
def test_with_json_logs_the_error_that_ends_a_run_is_json_as_well(here: Here, fault: dict[str, str]) -> None:
    """The last line of stderr has the format of the log."""
    done = subprocess.run(
        [*COMMAND, "run", "--once", *FREE_PORT],
        cwd=here.folder,
        env=environment(here, **fault),
        capture_output=True,
        timeout=PATIENT,
    )
    lines = [orjson.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert lines[-1]["level"] == "critical"
    assert lines[-1]["error"].endswith(".")
    assert lines[-1]["hint"]


def test_a_closed_standard_stream_does_not_damage_the_store(here: Here) -> None:
    """With descriptors 1 and 2 closed, the next two opened files receive these numbers."""
    request(here, "a")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, "run", "--sandbox", "--once", *FREE_PORT]
    assert subprocess.run(closed, cwd=here.folder, env=environment(here), timeout=PATIENT).returncode == 0
    assert outcomes(here) == {"a": "accepted"}
    assert here("audit", "verify").code == 0
