"""The dispatcher over a real outbox: at least once, in order for each request, without delay for others."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.core.record import Phase
from agent.ports import Delivery
from agent.store.sqlite.store import SqliteStore
from agent.web.dispatcher import Dispatcher
from tests.store.support import committed, opened, rows
from tests.support.clock import VirtualClock
from tests.support.held_time import holding
from verification.builders.lives import Life
from verification.builders.records import NOW, capture, upload

SINK = "sink-one"


class Listener:
    """A sink that accepts the events in `takes`, and records their order."""

    def __init__(self, takes: Callable[[Delivery], bool] = lambda delivery: True) -> None:
        self.takes = takes
        self.taken: list[Delivery] = []
        self.tried: list[Delivery] = []

    async def send(self, delivery: Delivery) -> bool:
        self.tried.append(delivery)
        await asyncio.sleep(0)
        if took := self.takes(delivery):
            self.taken.append(delivery)
        return took

    def of(self, uid: str) -> list[str]:
        return [delivery.notice.type.value for delivery in self.taken if delivery.uid == uid]


class Desk:
    """A store with an outbox, a sink, and the dispatcher between them."""

    def __init__(self, folder: Path, listener: Listener, backlog: int = 100) -> None:
        self.folder, self.listener = folder, listener
        self.store: SqliteStore = opened(folder, sinks=[SINK])
        self.clock = VirtualClock()
        self.counts: dict[str, int] = {}
        self.deliverer = Dispatcher(SINK, listener, self.store.outbox, self.clock, lambda: 0.5, self.count, backlog)

    def count(self, result: str, number: int) -> None:
        self.counts[result] = self.counts.get(result, 0) + number

    async def done(self, *uids: str) -> None:
        """Complete these capture requests."""
        for uid in uids:
            await committed(self.store, Life(uid, capture()).until(Phase.DONE))

    def pending(self) -> int:
        return int(rows(self.folder, "SELECT count(*) FROM deliveries")[0][0])

    async def settle(self, seconds: float) -> None:
        """Let the dispatcher run for this time."""
        async with self.clock:
            self.clock.hold()
            task = asyncio.create_task(self.deliverer.run())
            await self.clock.advance(0)
            await self.clock.advance(seconds)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def at_work(folder: Path, listener: Listener, backlog: int = 100) -> Iterator[Desk]:
    """A desk whose store is closed at the end. The clock stops while the dispatcher sends."""
    desk = Desk(folder, listener, backlog)
    with contextlib.closing(desk.store), holding(desk.clock, desk.deliverer, "dispatch_once"):
        yield desk


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def desk(tmp_path: Path, listener: Listener) -> Iterator[Desk]:
    with at_work(tmp_path, listener) as desk:
        yield desk


WHOLE = ["capture.ready", "settled", "deleted"]


async def test_every_notification_is_sent_in_order_and_the_outbox_is_empty(desk: Desk, listener: Listener) -> None:
    await desk.done("u1", "u2", "u3")
    await desk.deliverer.dispatch_once()
    assert [listener.of(uid) for uid in ("u1", "u2", "u3")] == [WHOLE] * 3
    assert desk.pending() == 0
    assert desk.counts == {"delivered": 9}


async def test_the_outbox_is_written_with_the_change_and_survives_a_restart(tmp_path: Path) -> None:
    """[I4]"""
    with at_work(tmp_path, Listener(lambda delivery: False)) as desk:
        await desk.done("u1")
        await desk.deliverer.dispatch_once()
    with at_work(tmp_path, Listener()) as again:
        await again.deliverer.dispatch_once()
        assert again.listener.of("u1") == WHOLE


async def test_the_outbox_has_no_name_label_or_link_and_a_notification_has_the_current_name(desk: Desk) -> None:
    """[I6]"""
    life = Life("u1", capture(labels=(("team", "canary-team"),)), name="canary-name").until(Phase.DONE)
    await committed(desk.store, life)
    kept = str(rows(desk.folder, "SELECT * FROM deliveries"))
    for canary in ("canary", "capture.example", "shop.example"):
        assert canary not in kept
    assert (await desk.store.outbox.pending(SINK, 0, 10))[0].name == "canary-name"
    await desk.store.forget("u1", NOW)
    assert (await desk.store.outbox.pending(SINK, 0, 10))[0].name is None, "a forgotten name is delivered to no sink"


async def test_a_failed_notification_delays_only_its_own_request(desk: Desk, listener: Listener) -> None:
    """[I9]"""
    listener.takes = lambda delivery: delivery.uid != "u1"
    await desk.done("u1", "u2")
    await desk.settle(1)
    await desk.done("u3")
    await desk.settle(1)
    assert (listener.of("u1"), listener.of("u2"), listener.of("u3")) == ([], WHOLE, WHOLE)
    assert not desk.deliverer.sink_down
    listener.takes = lambda delivery: True
    await desk.settle(60)
    assert listener.of("u1") == WHOLE, "and in order, once it is taken"


async def test_a_dead_sink_gets_rarer_attempts_and_everything_after_its_return(desk: Desk, listener: Listener) -> None:
    listener.takes = lambda delivery: False
    await desk.done(*(f"u{number}" for number in range(8)))
    await desk.settle(3600)
    assert desk.deliverer.sink_down
    assert len(listener.tried) < 40, "an hour of pauses that grow to five minutes"
    assert desk.pending() == 24
    listener.takes = lambda delivery: True
    await desk.settle(700)
    assert [listener.of(f"u{number}") for number in range(8)] == [WHOLE] * 8
    assert desk.pending() == 0


async def test_new_notifications_do_not_shorten_the_pause_of_a_dead_sink(desk: Desk, listener: Listener) -> None:
    listener.takes = lambda delivery: False
    await desk.done(*(f"u{number}" for number in range(8)))
    await desk.settle(600)
    tried = len(listener.tried)
    for _ in range(50):
        desk.deliverer.wake()
    await desk.settle(1)
    assert len(listener.tried) - tried <= 2


async def test_the_backlog_of_a_dead_sink_is_bounded_and_the_oldest_are_dropped(tmp_path: Path) -> None:
    with at_work(tmp_path, Listener(lambda delivery: False), backlog=10) as desk:
        await desk.done(*(f"u{number}" for number in range(8)))
        await desk.settle(60)
        assert desk.pending() == 10
        assert desk.counts["dropped"] == 14
    kept = [row[0] for row in rows(tmp_path, "SELECT uid FROM deliveries ORDER BY id")]
    assert kept == [*["u4"], *["u5"] * 3, *["u6"] * 3, *["u7"] * 3]


async def test_a_delivery_that_is_cut_off_is_sent_again_with_the_same_id(desk: Desk, listener: Listener) -> None:
    await desk.done("u1")
    first = (await desk.store.outbox.pending(SINK, 0, 1))[0]
    await listener.send(first)  # and then the agent ended
    await desk.deliverer.dispatch_once()
    assert [delivery.event for delivery in listener.taken if delivery.id == first.id] == [first.event] * 2
    events = {delivery.event for delivery in listener.taken}
    assert len(events) == 3, "and no two notices share one"


async def test_a_notification_for_a_removed_sink_is_dropped(desk: Desk) -> None:
    await desk.done("u1")
    assert await desk.store.outbox.keep_only(["another"]) == 3
    assert desk.pending() == 0


async def test_without_a_sink_nothing_is_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1", upload()).until(Phase.DONE))
    assert rows(tmp_path, "SELECT * FROM deliveries") == []
    store.close()


async def test_a_dispatcher_without_the_turn_of_its_sink_delivers_nothing(tmp_path: Path) -> None:
    """Another replica delivers. This one asks again within a second, because the other one may end."""
    listener, turns = Listener(), [False, False, True]

    async def turn() -> bool:
        return turns.pop(0) if len(turns) > 1 else turns[0]

    desk = Desk(tmp_path, listener)
    desk.deliverer = Dispatcher(SINK, listener, desk.store.outbox, desk.clock, lambda: 0.5, desk.count, turn=turn)
    await desk.done("u1")
    await desk.deliverer.dispatch_once()
    await desk.deliverer.dispatch_once()
    assert listener.taken == []
    assert desk.deliverer._seconds_to_next_attempt() == 1.0
    await desk.deliverer.dispatch_once()
    assert listener.of("u1")
    desk.store.close()
