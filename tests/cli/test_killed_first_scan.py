"""A real `kill -9` in the middle of a gradual first scan, after the first starts."""

import signal

import pytest

from agent.core.record import Phase
from agent.sandbox import SandboxServer
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from tests.support.stores import records
from tests.support.timeouts import eventually
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write

COUNT = 24
# Admits 4 requests at a time. After `STOP` files the scan stands still, so that the kill always hits it there.
STOPPING = """
import itertools, threading
from agent.source import scan
real, files = scan.load, itertools.count()
def load(*arguments, **options):
    if next(files) == STOP:
        threading.Event().wait()
    return real(*arguments, **options)
scan.load, scan._HANDED_OVER = load, 4
from agent.cli import main
main()
"""


@pytest.mark.parametrize("stop", [11, 21])
def test_nothing_is_doubled_missed_or_withdrawn_after_a_kill_during_the_first_scan(
    here: Here, remote: SandboxServer, stop: int
) -> None:
    """[I1] [I2] [I3] Some requests are started, some admitted and some unread when the process is killed."""
    here.env |= {"BASE_URL": remote.url, "POLL_INTERVAL": "1s", "SCAN_INTERVAL": "1s"}
    store, names = here.folder / "state/agent.db", {f"a-{number}" for number in range(COUNT)}
    write(here.folder / "images/front.jpg", jpeg())
    for name in names:
        write(here.folder / f"specs/{name}.yaml", upload(name, {"front": "front.jpg"}))
    for place in ("first", "last"):
        write(here.folder / f"specs/{place}.yaml", upload("shared", {"front": "front.jpg"}))

    def starts() -> list[int]:
        return [sum(process.starts for process in one.processes) for one in remote.ledger.dossiers.values()]

    process = spawn(here.folder, "run", *FREE_PORT, program=STOPPING.replace("STOP", str(stop), 1), **here.env)
    eventually(lambda: 1 in starts() or process.poll() is not None)
    assert process.poll() is None  # it did not end by itself
    process.send_signal(signal.SIGKILL)
    process.communicate()
    admitted = records(store).keys()
    assert 0 < len(admitted) < COUNT

    process = spawn(here.folder, "run", *FREE_PORT, **here.env)
    eventually(
        lambda: names <= (known := records(store)).keys() and all(one.phase is Phase.DONE for one in known.values())
    )
    eventually(lambda: not remote.world.dossiers)
    assert finish(process, signal.SIGTERM).code == 0
    items = here("get", "-o", "json").json["items"]
    assert {item["name"] for item in items} == names  # both files of the shared name are refused
    assert {item["outcome"] for item in items} == {"accepted"}
    assert sorted(filter(None, starts())) == [1] * COUNT
    assert admitted <= records(store).keys()
    assert here("audit", "verify").code == 0
