"""The parts of several replicas in the limits that they share."""

import math

import pytest

from agent.assure.rate_limit import TokenBucket
from agent.controller.create_barrier import CreateBarrier
from agent.controller.workqueue import OpenGate, WorkQueue
from agent.core.policy import Policy
from tests.support.clock import START


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


@pytest.mark.parametrize(("replicas", "each"), [(1, 64), (2, 45), (3, 30), (200, 1)])
def test_replicas_create_fewer_dossiers_at_a_time_than_a_list_shows(replicas: int, each: int) -> None:
    """[I3] A dossier whose creation was not answered is found in the list of the newest 100."""
    queue = WorkQueue(None, OpenGate(), CreateBarrier(Policy()), None, 64)  # type: ignore[arg-type]
    queue.share(replicas)
    assert queue._concurrency == each
    queue.share(1)
    assert queue._concurrency == 64
