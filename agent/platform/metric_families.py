"""Counters and histograms as plain numbers. A scrape makes Prometheus families of them.

A family of prometheus_client takes a lock and a clock reading for each number, and a search for each label. Here an
update is an addition, which is not atomic: only one thread may update a family. Any thread may collect it.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from agent.platform.metric_tables import PREFIX, Definition

Labels = tuple[str, ...]  # the values of the labels, in the order of the definition


class CounterFamily(Collector):
    """One counter with its series."""

    def __init__(self, name: str, definition: Definition) -> None:
        self._name, self._definition = PREFIX + name, definition
        self._values: dict[Labels, int] = dict.fromkeys(product(*definition.labels.values()), 0)

    def add(self, labels: Labels, number: int = 1) -> None:
        """Add a number to one series."""
        self._values[labels] = self._values.get(labels, 0) + number

    def describe(self) -> Iterable[Metric]:
        """The family without series."""
        yield self._family()

    def collect(self) -> Iterable[Metric]:
        """The family."""
        family = self._family()
        for labels, value in list(self._values.items()):
            family.add_metric([str(label) for label in labels], value)
        yield family

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._definition.help, labels=tuple(self._definition.labels))


class HistogramFamily(Collector):
    """One histogram with its series."""

    def __init__(self, name: str, definition: Definition) -> None:
        self._name, self._definition = PREFIX + name, definition
        self._bounds = definition.buckets
        self._bound_names = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._series = {labels: _Series(len(self._bound_names)) for labels in product(*definition.labels.values())}

    def observe(self, labels: Labels, value: float, uid: str | None = None, at: float = 0.0) -> None:
        """Observe a value. The `uid` and its time become the exemplar of the bucket."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(len(self._bound_names))
        bucket = bisect_left(self._bounds, value)
        series.counts[bucket] += 1
        series.total += value
        if uid is not None:
            series.exemplars[bucket] = uid, value, at

    def describe(self) -> Iterable[Metric]:
        """The family without series."""
        yield self._family()

    def collect(self) -> Iterable[Metric]:
        """The family."""
        family = self._family()
        for labels, series in list(self._series.items()):
            counts = zip(self._bound_names, accumulate(series.counts), series.exemplars, strict=True)
            buckets = [
                (name, count) if found is None else (name, count, Exemplar({"uid": found[0]}, *found[1:]))
                for name, count, found in counts
            ]
            family.add_metric([str(label) for label in labels], buckets, series.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._definition.help, labels=tuple(self._definition.labels))


class _Series:
    """The observations of one histogram with the same labels: for each bucket the count and the last exemplar."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.exemplars: list[tuple[str, float, float] | None] = [None] * buckets
        self.total = 0.0
