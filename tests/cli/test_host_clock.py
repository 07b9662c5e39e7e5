"""The clock of the host is set while the agent runs: no billed request expires (issue 14, point 5)."""

import signal
import subprocess
from pathlib import Path

from agent.core.record import Phase
from agent.sandbox import SandboxServer
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from tests.support.stores import records
from tests.support.timeouts import eventually
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write

SHIFTED = """
import pathlib, time
real, shift = time.time, pathlib.Path("shift")
time.time = lambda: real() + float(shift.read_text())
from agent.cli import main
main()
"""
AHEAD = 25 * 3600.0
COUNT = 10


def set_clock(folder: Path, seconds: float) -> None:
    """Set the clock of the agent's host ahead by `seconds`."""
    (folder / "shift.new").write_text(str(seconds))
    (folder / "shift.new").replace(folder / "shift")


def test_ten_billed_requests_settle_with_their_results_for_any_host_clock(here: Here, remote: SandboxServer) -> None:
    """[I1] [I3] The clock is a day ahead during the starts and a kill, then right, then a day behind at a start."""
    here.env |= {"BASE_URL": remote.url, "POLL_INTERVAL": "1s"}
    names = [f"a-{number}" for number in range(COUNT)]
    for name in names:
        write(here.folder / f"images/{name}.jpg", jpeg("sandbox-delay=6s"))
        write(here.folder / f"specs/{name}.yaml", upload(name, {"front": f"{name}.jpg"}))

    def starts() -> int:
        return sum(process.starts for one in remote.ledger.dossiers.values() for process in one.processes)

    def settled() -> bool:
        return all(one.phase is Phase.DONE for one in records(here.folder / "state/agent.db").values())

    def agent() -> "subprocess.Popen[str]":
        return spawn(here.folder, "run", *FREE_PORT, program=SHIFTED, **here.env)

    set_clock(here.folder, 0.0)
    process = agent()
    eventually(lambda: starts() == COUNT)
    set_clock(here.folder, AHEAD)
    eventually(lambda: remote.ledger.calls["getAllProcess"] >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = agent()
    eventually(lambda: (here.folder / "state/agent.db.sock").exists())
    set_clock(here.folder, -AHEAD)
    eventually(settled)
    assert finish(process, signal.SIGTERM).code == 0
    assert {item["outcome"] for item in here("get", "-o", "json").json["items"]} == {"accepted"}
    assert starts() == COUNT
    assert not remote.world.dossiers
    assert here("audit", "verify").code == 0
