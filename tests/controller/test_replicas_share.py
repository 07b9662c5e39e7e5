"""The parts of several replicas in the limits that they share."""

import math
from collections.abc import Collection

import pytest

from agent.assure.rate_limit import TokenBucket
from agent.controller.create_barrier import CreateBarrier
from agent.controller.workqueue import OpenGate, WorkQueue
from agent.core.policy import Policy
from tests.support.clock import START, VirtualClock


def sent_within(bucket: TokenBucket, seconds: float) -> int:
    """How many calls may be sent in this time after the burst of the first second."""
    count = 0
    while bucket.reserve(START) <= START + seconds:
        count += 1
    return count


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_replicas_divide_the_rate_equally(replicas: int) -> None:
    buckets = [TokenBucket(10.0) for _ in range(replicas)]
    for bucket in buckets:
        bucket.share(replicas)
    assert sum(sent_within(bucket, 60.0) for bucket in buckets) == pytest.approx(10 * 61, abs=replicas)


def test_a_rate_without_a_limit_stays_without() -> None:
    bucket = TokenBucket(0.0)
    bucket.share(3)
    assert bucket.capacity(START) == math.inf


class Claims:
    """A shared store that notes what is released."""

    shared = True

    def __init__(self) -> None:
        self.kept: list[set[str]] = []

    async def release(self, working: Collection[str]) -> None:
        self.kept.append(set(working))


async def test_a_busy_replica_releases_its_finished_work_four_times_a_second() -> None:
    """Each release is a transaction. A replica without other work releases at once."""
    async with VirtualClock() as clock:
        store = Claims()
        queue = WorkQueue(store, OpenGate(), CreateBarrier(Policy()), clock, 64)  # type: ignore[arg-type]
        queue._claimed = {"a", "b", "c", "d"}
        await queue.release({"b", "c", "d"})
        await queue.release({"c", "d"})
        assert store.kept == [{"b", "c", "d"}]
        await clock.advance(0.25)
        await queue.release({"d"})
        await queue.release(set())
        assert store.kept == [{"b", "c", "d"}, {"d"}, set()]
        await queue.release(set())  # nothing is claimed any longer
        assert len(store.kept) == 3


@pytest.mark.parametrize(("replicas", "each"), [(1, 64), (2, 45), (3, 30), (200, 1)])
def test_replicas_create_fewer_dossiers_at_a_time_than_a_list_shows(replicas: int, each: int) -> None:
    """[I3] A dossier whose creation was not answered is found in the list of the newest 100."""
    queue = WorkQueue(None, OpenGate(), CreateBarrier(Policy()), None, 64)  # type: ignore[arg-type]
    queue.share(replicas)
    assert queue._concurrency == each
    queue.share(1)
    assert queue._concurrency == 64
