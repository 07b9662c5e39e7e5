"""The recorder of the agent's metrics (design §12).

Histograms, API counters and process gauges live in this process. Counters of outcomes and starts, and all gauges about
requests, are read from the store at each scrape (`store_metrics.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import product
from math import inf, nan

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import __version__
from agent.core.answer import Operation
from agent.core.drop_reasons import Dropped
from agent.core.event_result import EventResult
from agent.core.hook_result import HookResult
from agent.core.record import Phase
from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.core.step import Step
from agent.platform.callbacks import isolated
from agent.platform.endpoint_health import EndpointCause, EndpointTrouble
from agent.platform.log import ended_lives, lost_lines
from agent.platform.metric_families import CounterFamily, HistogramFamily
from agent.platform.metric_tables import COUNTERS, FETCHED, GAUGES, HISTOGRAMS, PREFIX
from agent.platform.store_metrics import StoreCollector
from agent.ports import Clock, StoreStatistics


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self, clock: Clock) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self._fetched_at = 0.0  # the last fetch from the git source that succeeded
        self._histograms = {name: HistogramFamily(name, one) for name, one in HISTOGRAMS.items()}
        self._counters = {name: CounterFamily(name, one) for name, one in COUNTERS.items()}
        for family in (*self._histograms.values(), *self._counters.values()):
            registry.register(family)
        self._gauges = {
            name: Gauge(PREFIX + name, one.help, tuple(one.labels), registry=registry) for name, one in GAUGES.items()
        }
        for name, definition in GAUGES.items():
            for values in product(*definition.labels.values()) if definition.labels else ():
                self._gauges[name].labels(*values)
        for name, value in (("start_budget_remaining", inf), ("clock_skew_seconds", nan), ("clock_confirmed", 1.0)):
            self._gauges[name].set(value)
        self._gauges["build_info"].labels(__version__).set(1)
        registry.register(_ProcessCollector())
        ProcessCollector(registry=registry)  # CPU, memory, file descriptors, start time; only on Linux

    def called(self, operation: Operation, result: str, seconds: float) -> None:
        """An HTTP request to Assure ended."""
        self._counters["api_requests"].add((operation, result))
        self._histograms["api_request_duration_seconds"].observe((operation,), seconds)

    @isolated
    def committed(self, seconds: float, pieces: int) -> None:
        """A group commit ended. The thread of the writer calls this, and no other method of this class."""
        self._histograms["commit_duration_seconds"].observe((), seconds)
        self._histograms["commit_batch_size"].observe((), pieces)

    @isolated
    def received(self, received: EventResult) -> None:
        """The event endpoint answered a request."""
        self._counters["events"].add((received,))
        if received.genuine:
            self._gauges["last_event_timestamp_seconds"].set(self._clock.now())

    @isolated
    def hook_received(self, received: HookResult) -> None:
        """The endpoint for hooks answered a request."""
        self._counters["source_hooks"].add((received,))

    @isolated
    def dropped(self, listener: str, reason: Dropped) -> None:
        """A listener, one of LISTENERS, closed a connection."""
        self._counters["connections_dropped"].add((listener, reason))

    @isolated
    def delivered(self, result: str, number: int) -> None:
        """A number of notifications was delivered, failed or was dropped."""
        self._counters["deliveries"].add((result,), number)

    @isolated
    def moved(self) -> None:
        """A record changed in the store while the agent worked on it."""
        self._counters["moved"].add(())

    @isolated
    def step_committed(self, step: Step) -> None:
        """A step was committed."""
        before, record = step.before, step.record
        if before is None or before.phase is record.phase:
            return
        uid, at = record.uid, record.phase_at  # the exemplar, which leads from a bucket to `explain`
        in_phase = max(0.0, at - before.phase_at)
        self._histograms["phase_duration_seconds"].observe((before.phase,), in_phase, uid, at)
        if record.phase is Phase.DONE and record.done_at is not None and record.outcome is not None:
            labels, total = (record.desired.mode, record.outcome), record.done_at - record.admitted_at
            self._histograms["request_duration_seconds"].observe(labels, total, uid, at)
            if record.dossier_id is not None and record.delete_at is not None:
                delay = max(0.0, record.done_at - record.delete_at)
                self._histograms["deletion_delay_seconds"].observe((), delay, uid, at)

    @isolated
    def sync_finished(self, files: int, refused: int, waiting: int, passed_over: int, complete: bool) -> None:
        """The source was scanned. `waiting`: withdrawals that need approval."""
        states = {"seen": files, "refused": refused, "waiting_withdrawal": waiting, "passed_over": passed_over}
        for state, count in states.items():
            self._gauges["source_files"].labels(state).set(count)
        self._gauges["source_scan_complete"].set(complete)
        if complete:
            self._gauges["source_last_sync_timestamp_seconds"].set(self._clock.now())

    def git_source(self, interval: float) -> None:
        """The source is a git repository that is fetched at this interval, in seconds."""
        self._gauges["source_interval_seconds"].set(interval)
        self._fetched_at = self._clock.now()
        self._gauges["source_fetched_timestamp_seconds"].set(self._fetched_at)

    @isolated
    def source_refreshed(
        self,
        fetched_at: float | None,
        failure: FetchFailure | None,
        refused: RevisionRefusal | None,
        seconds: float,
    ) -> None:
        """The git source was refreshed. `fetched_at`: when the server last answered, perhaps to an earlier process."""
        self._counters["source_fetches"].add((failure or FETCHED,))
        self._histograms["source_fetch_duration_seconds"].observe((), seconds)
        if fetched_at is not None:
            # A server that answers while the fetch fails does not end the trouble.
            self._fetched_at = fetched_at if failure is None else min(self._fetched_at, fetched_at)
            self._gauges["source_fetched_timestamp_seconds"].set(self._fetched_at)
        for cause in FetchFailure:
            self._gauges["source_fetch_failing"].labels(cause).set(cause is failure)
        for reason in RevisionRefusal:
            self._gauges["source_revision_refused"].labels(reason).set(reason is refused)

    @isolated
    def source_lagging(self, lags: bool) -> None:
        """The revision of this replica is older than the one that was acted on last, or it no longer is."""
        self._gauges["source_lagging"].set(lags)

    @isolated
    def revision_acted(self, committed_at: float) -> None:
        """The agent acts on the revision of this committer's time."""
        self._gauges["source_revision_timestamp_seconds"].set(committed_at)

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

    def replica(self, lease: Callable[[], float], driven: Callable[[], int]) -> None:
        """Read at each scrape the seconds that are left of the lease, and how many requests this replica drives."""
        self._gauges["lease_remaining_seconds"].set_function(lease)
        self._gauges["requests_driven"].set_function(lambda: float(driven()))

    def database(self, away: Callable[[], bool], behind: Callable[[], bool]) -> None:
        """Read at each scrape whether the server of the database is away, and whether it lost transactions."""
        self._gauges["database_away"].set_function(lambda: float(away()))
        self._gauges["database_behind"].set_function(lambda: float(behind()))

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


class _ProcessCollector(Collector):
    """The counters that belong to the process: they go on when a replica begins another life."""

    def collect(self) -> Iterable[Metric]:
        """The counters."""
        yield CounterMetricFamily(
            PREFIX + "fenced",
            "Lives of this process that ended because its lease was over, and another replica took its work.",
            value=ended_lives.value,
        )
        yield CounterMetricFamily(
            PREFIX + "log_lines_lost",
            "Log lines that this process could not write: the disk is full, or the reader is too slow.",
            value=lost_lines.value,
        )
