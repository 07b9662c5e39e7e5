"""Events alone: forty requests finish while polling is ten minutes away, and forged events change nothing."""

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installed_command import Office
from tests.support.timeouts import PATIENT, eventually
from verification.processes import simulated

SECRET = "a-secret-of-the-subscription"
TROUBLE = [{"kind": "double", "every": 3}, {"kind": "reorder", "rate": 0.4, "seconds": 2}]


@pytest.fixture
def office(tmp_path: Path, store: dict[str, Any]) -> Iterator[Office]:
    """An office whose Assure sends signed events to where its agent will listen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("specs", "images"):
        (tmp_path / name).mkdir()
    url = f"http://127.0.0.1:{port}/events"
    with simulated({"delay": "2s-4s", "events-url": url, "events-secret": SECRET}) as sandbox:
        settings = {"EVENTS_LISTEN": f"127.0.0.1:{port}", "EVENTS_SECRET": SECRET, "POLL_INTERVAL": "10m"}
        yield Office(tmp_path, sandbox, settings=settings, **store)


def posted(url: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    """The status of the answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=PATIENT) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def waited(office: Office, names: list[str]) -> dict[str, Any]:
    """The requests that `get` prints once all of them are done."""

    def phases() -> dict[str, str]:
        return {name: item["phase"] for name, item in office.seen().items()}

    eventually(lambda: phases() == dict.fromkeys(names, "done"), phases)
    return office.items()


def test_forty_requests_finish_by_signed_events_alone_doubled_and_reordered(office: Office) -> None:
    """[I1, I2, I3] The agent does not poll meanwhile, and it ends on SIGTERM."""
    posted(office.url + "/sandbox/faults", json.dumps([{"operation": "event"} | rule for rule in TROUBLE]).encode())
    for number in range(30):
        office.upload(f"upload-{number}", ("accepted", "rejected", "inconclusive")[number % 3])
    for number in range(10):
        office.write(f"capture-{number}", processType="document", capture={"redirectUrl": "http://localhost/done"})
    names = [f"upload-{number}" for number in range(30)] + [f"capture-{number}" for number in range(10)]
    events = f"http://{office.settings['EVENTS_LISTEN']}/events"
    with office.running() as process:
        items = waited(office, names)
        before, calls = office.items(), office.ledger()["calls"]
        forged = json.dumps({"id": "x", "eventName": "process.complete", "eventData": {"dossierId": "y"}}).encode()
        assert posted(events, forged) == 401
        assert posted(events, forged, {"X-Signicat-Signature": "0" * 64}) == 401
        assert posted(events, b"x" * 100_000, {"X-Signicat-Signature": "0" * 64}) == 413
        assert office.items() == before
        assert office.ledger()["calls"] == calls, "Assure was not asked"
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENT)
        assert process.returncode == 0
    assert [items[f"upload-{n}"]["outcome"] for n in range(3)] == ["accepted", "rejected", "inconclusive"]
    assert {items[f"capture-{n}"]["outcome"] for n in range(10)} == {"accepted"}
    ledger = office.ledger()
    assert "getAllProcess" not in ledger["calls"], "the agent must not poll"
    met = [trouble for event in ledger["events"] for trouble in event["trouble"]]
    assert {"double", "reorder"} <= set(met)
    assert office.left_behind() == []
    assert all(process["starts"] <= 1 for process in office.processes())
