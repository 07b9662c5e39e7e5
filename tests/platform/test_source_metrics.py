"""The metrics of a git source. Labels are causes and reasons: never a commit, a name or an address."""

import pytest

from agent.core.hook_result import HookResult
from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.metrics import Metrics
from tests.support.clock import VirtualClock

_PREFIX = "assure_agent_source_"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def metrics(clock: VirtualClock) -> Metrics:
    made = Metrics(clock)
    made.git_source(30.0)
    return made


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(_PREFIX + name, labels)
    assert found is not None, name
    return found


def raised(metrics: Metrics, name: str) -> list[str]:
    """The labels of the series that are not 0."""
    families = [one for one in metrics.registry.collect() if one.name == _PREFIX + name]
    return [label for one in families for sample in one.samples if sample.value for label in sample.labels.values()]


def test_without_a_git_source_no_alert_can_fire(clock: VirtualClock) -> None:
    """The series exist, so that a panel has an answer."""
    plain = Metrics(clock)
    for name in ("interval_seconds", "fetched_timestamp_seconds", "revision_timestamp_seconds"):
        assert value(plain, name) == 0
    for name in ("fetch_failing", "revision_refused", "fetches", "hooks"):
        assert raised(plain, name) == []


async def test_a_fetch_is_counted_by_its_result_and_its_duration(metrics: Metrics, clock: VirtualClock) -> None:
    metrics.source_refreshed(clock.now(), None, None, 0.2)
    metrics.source_refreshed(clock.now(), FetchFailure.DNS, None, 4.0)
    metrics.source_refreshed(clock.now(), FetchFailure.DNS, None, 4.0)
    assert value(metrics, "fetches_total", result="ok") == 1
    assert value(metrics, "fetches_total", result="dns") == 2
    assert value(metrics, "fetch_duration_seconds_count") == 3
    assert value(metrics, "fetch_duration_seconds_sum") == pytest.approx(8.2)


async def test_only_the_present_cause_and_reason_are_raised(metrics: Metrics, clock: VirtualClock) -> None:
    for failure in (*FetchFailure, None):
        metrics.source_refreshed(None, failure, None, 0.1)
        assert raised(metrics, "fetch_failing") == [failure] * (failure is not None)
    for refused in (*RevisionRefusal, None):
        metrics.source_refreshed(clock.now(), None, refused, 0.1)
        assert raised(metrics, "revision_refused") == [refused] * (refused is not None)


async def test_the_last_success_grows_old_while_fetches_fail(metrics: Metrics, clock: VirtualClock) -> None:
    started = clock.now()
    assert value(metrics, "fetched_timestamp_seconds") == started, "no alert before there was time for a fetch"
    metrics.source_refreshed(None, FetchFailure.NETWORK, None, 0.1)
    assert value(metrics, "fetched_timestamp_seconds") == started
    metrics.source_refreshed(started - 5000, FetchFailure.NETWORK, None, 0.1)
    assert value(metrics, "fetched_timestamp_seconds") == started - 5000, "an earlier process fetched it"
    metrics.source_refreshed(started + 60, FetchFailure.TOO_LARGE, None, 0.1)
    assert value(metrics, "fetched_timestamp_seconds") == started - 5000, "the server answers, and the fetch fails"
    metrics.source_refreshed(started + 90, None, None, 0.1)
    assert value(metrics, "fetched_timestamp_seconds") == started + 90
    metrics.source_refreshed(started + 120, FetchFailure.TOO_LARGE, None, 0.1)
    assert value(metrics, "fetched_timestamp_seconds") == started + 90


def test_hooks_are_counted_by_result(metrics: Metrics) -> None:
    for result in (*HookResult, HookResult.FORGED):
        metrics.hook_received(result)
    assert value(metrics, "hooks_total", result="forged") == 2
    assert value(metrics, "hooks_total", result="accepted") == 1


def test_the_time_of_the_revision_is_that_of_its_commit(metrics: Metrics) -> None:
    metrics.revision_acted(1_700_000_000.0)
    assert value(metrics, "revision_timestamp_seconds") == 1_700_000_000.0


def test_an_incomplete_scan_is_visible(metrics: Metrics) -> None:
    metrics.sync_finished(3, 0, 0, 0, complete=True)
    assert value(metrics, "scan_complete") == 1
    metrics.sync_finished(3, 0, 0, 0, complete=False)
    assert value(metrics, "scan_complete") == 0
