"""Errors of callbacks, log and metrics do not reach the work [I1]."""

import threading
from collections.abc import Iterator

import httpx
import pytest
import structlog
from prometheus_client import Counter, Histogram

from agent.platform import log
from agent.platform.callbacks import isolated
from agent.platform.log import configure, lines_lost, logger
from agent.platform.nonblocking_output import AtomicCounter as Lost
from agent.platform.nonblocking_output import LossyWriter
from tests.support.environment import World
from tests.support.timeouts import PATIENT, eventually


@pytest.fixture
def configured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_an_error_of_a_callback_is_logged_by_its_location_and_not_by_its_text(world: World) -> None:
    """[I6]"""

    def listener(number: int) -> None:
        raise ValueError("Jane Doe")

    isolated(listener)(1)
    assert [entry["event"] for entry in world.logs] == ["a callback failed"]
    assert world.logs[0]["error"].startswith("ValueError at test_callbacks.py:")
    assert "Jane" not in str(world.logs)


def test_a_line_that_cannot_be_rendered_is_lost_and_counted(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    configure("json", "info")
    before = log.lost_lines.value
    logger().info("odd", count=Odd())
    logger().info("next")
    assert log.lost_lines.value == before + 1
    assert '"next"' in capsys.readouterr().err


async def test_a_store_commits_although_its_metrics_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I1] Without its thread the store would never answer."""

    def broken(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(Histogram, "observe", broken)
    monkeypatch.setattr(Counter, "inc", broken)
    world.upload("a")
    await world.settle()
    assert world.record("a").outcome == "accepted"
    world.check()


async def test_a_failed_scrape_is_503_and_the_agent_continues(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I1] Prometheus records `up == 0` instead of incomplete metrics."""

    def broken(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("agent.store.sqlite.readonly.ReadOnlyStore.gauges", broken)
    world.upload("a")
    async with world.running(http=True), httpx.AsyncClient(timeout=PATIENT) as client:
        await world.clock.advance(60)
        assert (await client.get(f"{world.url}/metrics")).status_code == 503
        assert world.record("a").outcome == "accepted"
    assert [log["error"] for log in world.logs if log["event"] == "the metrics failed"] == ["KeyError"]


class Disk:
    """Accepts a number of bytes, then it is full."""

    def __init__(self, room: int) -> None:
        self.room, self.held = room, b""

    def __call__(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        self.held += taken
        return len(taken)


def test_each_line_is_written_completely_or_counted_as_lost() -> None:
    disk, lost = Disk(room=15), Lost()
    writer = LossyWriter(disk, lost, lambda count: b"%d lost\n" % count)
    for line in (b"one......\n", b"two......\n", b"three....\n"):
        writer.put(line)
        assert writer.drain()
    assert lost.value == 2
    disk.room = 1000
    writer.put(b"four\n")
    assert writer.drain()
    assert disk.held == b"one......\ntwo..\n2 lost\nfour\n"


def test_writers_do_not_wait_and_excess_output_is_dropped() -> None:
    """The reader has stopped, and the queue is bounded."""
    read, held, lost = threading.Event(), list[bytes](), Lost()

    def stuck(data: bytes) -> int:
        read.wait()
        held.append(data)
        return len(data)

    writer = LossyWriter(stuck, lost, most=10)
    for _ in range(100):
        writer.put(b"line\n")
    assert not writer.drain(0.01)
    assert 100 - 10 - 2 <= lost.value < 100
    read.set()
    eventually(lambda: b"".join(held).count(b"\n") + lost.value == 100)


def test_the_notice_of_lost_lines_has_the_format_of_the_log(configured: None) -> None:
    configure("json", "info")
    assert lines_lost(7).startswith(b'{"event": "log lines were lost", "count": 7')
    configure("text", "info")
    assert b"count=7" in lines_lost(7)
