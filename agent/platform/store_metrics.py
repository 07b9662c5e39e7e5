"""The metrics that are read from the store at each scrape, and are therefore true across restarts."""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.core.assure_types import ProcessType
from agent.core.errors import StoreAway
from agent.core.record import HoldReason, Outcome
from agent.platform.metric_tables import MODES, PREFIX, STORE_GAUGES
from agent.ports import Clock, StoreStatistics


class StoreCollector(Collector):
    """Reads one snapshot per scrape."""

    def __init__(self, open_store: Callable[[], AbstractContextManager[StoreStatistics]], clock: Clock) -> None:
        self._open_store = open_store
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """The snapshot, as metrics. None while the database is away, because `database_away` says so."""
        with contextlib.suppress(StoreAway), self._open_store() as statistics:
            statistics.freeze()
            yield from _requests(statistics)
            yield from _counters(statistics)
            for name, value in statistics.gauges(self._clock.now()).items():
                yield GaugeMetricFamily(PREFIX + name, STORE_GAUGES[name], value=value)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not open the store, which may not exist yet."""
        return ()


def _requests(statistics: StoreStatistics) -> Iterable[Metric]:
    counts = GaugeMetricFamily(PREFIX + "requests", "Requests by phase and state.", labels=("phase", "state"))
    for (phase, state), count in statistics.counts().items():
        counts.add_metric((phase, state), count)
    yield counts
    held = GaugeMetricFamily(PREFIX + "held", "Held requests that wait for an operator, by reason.", labels=("reason",))
    found = dict(statistics.held())
    for reason in HoldReason:
        held.add_metric((reason,), found.get(reason, 0))
    yield held


def _counters(statistics: StoreStatistics) -> Iterable[Metric]:
    """Every series exists from the start, so that `rate` sees the first increment."""
    outcomes = CounterMetricFamily(
        PREFIX + "outcomes", "Verifications that reached an outcome.", labels=("mode", "process_type", "outcome")
    )
    counted = dict.fromkeys(product(MODES, ProcessType, Outcome), 0)
    for mode, process_type, outcome, value in statistics.counters("outcome"):
        counted[mode, ProcessType(process_type), Outcome(outcome)] = value
    for labels, value in counted.items():
        outcomes.add_metric(labels, value)
    yield outcomes
    starts = dict.fromkeys(MODES, 0)
    for mode, _, _, value in statistics.counters("start"):
        starts[mode] += value
    family = CounterMetricFamily(PREFIX + "starts", "Billable starts, captures included.", labels=("mode",))
    for mode, value in starts.items():
        family.add_metric((mode,), value)
    yield family
