"""The recorder of the agent's metrics (design §12).

Histograms, API counters and process gauges live in this process. Counters of outcomes and starts, and all gauges about
requests, are read from the store at each scrape (`store_metrics.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import product
from math import inf, nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import __version__
from agent.core.answer import Operation
from agent.core.drop_reasons import Dropped
from agent.core.event_result import EventResult
from agent.core.record import Phase
from agent.core.step import Step
from agent.platform.callbacks import isolated
from agent.platform.endpoint_health import EndpointCause, EndpointTrouble
from agent.platform.log import lost_lines
from agent.platform.metric_tables import COUNTERS, GAUGES, HISTOGRAMS, PREFIX, Definition
from agent.platform.store_metrics import StoreCollector
from agent.ports import Clock, StoreStatistics


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self, clock: Clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # `_created` series double the number of series
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self._histograms = {
            name: Histogram(PREFIX + name, one.help, tuple(one.labels), buckets=one.buckets, registry=registry)
            for name, one in HISTOGRAMS.items()
        }
        self._counters = {
            name: Counter(PREFIX + name, one.help, tuple(one.labels), registry=registry)
            for name, one in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(PREFIX + name, one.help, tuple(one.labels), registry=registry) for name, one in GAUGES.items()
        }
        tables: tuple[tuple[Iterable[Histogram | Counter | Gauge], Iterable[Definition]], ...] = (
            (self._histograms.values(), HISTOGRAMS.values()),
            (self._counters.values(), COUNTERS.values()),
            (self._gauges.values(), GAUGES.values()),
        )
        for families, definitions in tables:
            for family, definition in zip(families, definitions, strict=True):
                for values in product(*definition.labels.values()) if definition.labels else ():
                    family.labels(*values)
        for name, value in (("start_budget_remaining", inf), ("clock_skew_seconds", nan), ("clock_confirmed", 1.0)):
            self._gauges[name].set(value)
        self._gauges["build_info"].labels(__version__).set(1)
        registry.register(_LogCollector())
        self._of_call: dict[tuple[Operation, str], tuple[Counter, Histogram]] = {}  # `labels` is slow

    @isolated
    def called(self, operation: Operation, result: str, seconds: float) -> None:
        """An HTTP request to Assure ended."""
        children = self._of_call.get((operation, result))
        if children is None:
            duration = self._histograms["api_request_duration_seconds"].labels(operation)
            children = self._counters["api_requests"].labels(operation, result), duration
            self._of_call[operation, result] = children
        children[0].inc()
        children[1].observe(seconds)

    @isolated
    def committed(self, seconds: float, pieces: int) -> None:
        """A group commit ended."""
        self._histograms["commit_duration_seconds"].observe(seconds)
        self._histograms["commit_batch_size"].observe(pieces)

    @isolated
    def received(self, received: EventResult) -> None:
        """The event endpoint answered a request."""
        self._counters["events"].labels(received).inc()
        if received.genuine:
            self._gauges["last_event_timestamp_seconds"].set(self._clock.now())

    @isolated
    def dropped(self, listener: str, reason: Dropped) -> None:
        """A listener, one of LISTENERS, closed a connection."""
        self._counters["connections_dropped"].labels(listener, reason).inc()

    @isolated
    def delivered(self, result: str, number: int) -> None:
        """A number of notifications was delivered, failed or was dropped."""
        self._counters["deliveries"].labels(result).inc(number)

    @isolated
    def step_committed(self, step: Step) -> None:
        """A step was committed."""
        before, record = step.before, step.record
        if before is None or before.phase is record.phase:
            return
        exemplar = {"uid": record.uid}  # leads from a bucket to `explain`
        in_phase = max(0.0, record.phase_at - before.phase_at)
        self._histograms["phase_duration_seconds"].labels(before.phase).observe(in_phase, exemplar)
        if record.phase is Phase.DONE and record.done_at is not None and record.outcome is not None:
            total = self._histograms["request_duration_seconds"].labels(record.desired.mode, record.outcome)
            total.observe(record.done_at - record.admitted_at, exemplar)
            if record.dossier_id is not None and record.delete_at is not None:
                delay = max(0.0, record.done_at - record.delete_at)
                self._histograms["deletion_delay_seconds"].observe(delay, exemplar)

    @isolated
    def sync_finished(self, files: int, refused: int, waiting: int, passed_over: int, complete: bool) -> None:
        """The source was scanned. `waiting`: withdrawals that need approval."""
        states = {"seen": files, "refused": refused, "waiting_withdrawal": waiting, "passed_over": passed_over}
        for state, count in states.items():
            self._gauges["source_files"].labels(state).set(count)
        if complete:
            self._gauges["source_last_sync_timestamp_seconds"].set(self._clock.now())

    def clock(self, skew: Callable[[], float | None], confirmed: Callable[[], bool]) -> None:
        """Read the clock's skew and confirmation at each scrape. A skew of None is NaN."""

        def ahead() -> float:
            found = skew()
            return nan if found is None else found

        self._gauges["clock_skew_seconds"].set_function(ahead)
        self._gauges["clock_confirmed"].set_function(lambda: float(confirmed()))

    def start_budget(self, left: Callable[[], int | None]) -> None:
        """Read the number of starts left today at each scrape. None: no limit."""

        def remaining() -> float:
            found = left()
            return inf if found is None else float(found)

        self._gauges["start_budget_remaining"].set_function(remaining)

    def backups(self, interval: float) -> None:
        """Set the interval of backups in seconds, or 0 without backups."""
        self._gauges["backup_interval_seconds"].set(interval)

    @isolated
    def circuit(self, is_open: bool) -> None:
        """The circuit opened or closed."""
        self._gauges["circuit_open"].set(is_open)

    def endpoints(self, names: Iterable[str]) -> None:
        """Create the series of these endpoints."""
        for endpoint, cause in product(names, EndpointCause):
            self._gauges["endpoint_trouble"].labels(endpoint, cause).set(0)

    def endpoint(self, name: str, before: EndpointTrouble | None, after: EndpointTrouble | None) -> None:
        """The trouble of an endpoint began, changed its cause, or ended."""
        for trouble, value in ((before, 0), (after, 1)):
            if trouble is not None:
                self._gauges["endpoint_trouble"].labels(name, trouble.cause).set(value)

    def register_store(self, open_store: Callable[[], AbstractContextManager[StoreStatistics]]) -> None:
        """Read the store at each scrape."""
        self.registry.register(StoreCollector(open_store, self._clock))


class _LogCollector(Collector):
    """The counter of lost log lines, which belongs to the process."""

    def collect(self) -> Iterable[Metric]:
        """The counter."""
        yield CounterMetricFamily(
            PREFIX + "log_lines_lost",
            "Log lines that this process could not write: the disk is full, or the reader is too slow.",
            value=lost_lines.value,
        )
