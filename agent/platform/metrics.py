"""The metrics of design §12. Labels are bounded: never a name, never an id.

Counters of outcomes and starts, and all gauges about requests, are read from the store when Prometheus asks, so they
are true across restarts; histograms and API counters live in the process.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import product
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import __version__
from agent.core.answer import Operation
from agent.core.assure_types import ProcessType
from agent.core.drop_reasons import Dropped
from agent.core.event_result import Received
from agent.core.machine import Step
from agent.core.record import HoldReason, Outcome, Phase
from agent.platform.callbacks import harmless
from agent.platform.endpoint_health import Cause as EndpointCause
from agent.platform.endpoint_health import Trouble
from agent.platform.log import lost
from agent.ports import Clock

_LONG = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400, 7 * 86400)
_MODES = ("upload", "capture")
LISTENERS = ("listen", "events_listen")
_DELAY = (1, 5, 15, 60, 300, 900, 1800, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400, 7 * 86400)  # 900: the objective
_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TINY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Figures(Protocol):
    """What a store knows, in one snapshot."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Requests by phase and state."""

    def tallies(self, tally: str) -> list[tuple[str, str, str, int]]:
        """Counters true across restarts (outcome, start): mode, process type, outcome, value."""

    def held(self) -> list[tuple[str, int]]:
        """Held requests by reason."""

    def gauges(self, now: float) -> dict[str, float]:
        """Single figures, by the name of their metric."""


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self, clock: Clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they are not among ours, and double the series
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        name = "assure_agent_"
        self._duration = Histogram(
            name + "request_duration_seconds",
            "From admission to done.",
            ("mode", "outcome"),
            buckets=_LONG,
            registry=registry,
        )
        self._phase = Histogram(
            name + "phase_duration_seconds", "Time spent in a phase.", ("phase",), buckets=_LONG, registry=registry
        )
        self._deletion = Histogram(
            name + "deletion_delay_seconds",
            "From the time a deletion was due to its confirmation.",
            buckets=_DELAY,
            registry=registry,
        )
        self._calls = Counter(
            name + "api_requests",
            "Calls to Assure: done, refused, busy (did not happen) or unknown (may have happened).",
            ("operation", "result"),
            registry=registry,
        )
        self._of_call: dict[tuple[Operation, str], tuple[Counter, Histogram]] = {}  # looking them up took longer
        self._call_duration = Histogram(
            name + "api_request_duration_seconds",
            "Duration of calls to Assure.",
            ("operation",),
            buckets=_SHORT,
            registry=registry,
        )
        self._commit = Histogram(
            name + "commit_duration_seconds", "Duration of a group commit.", buckets=_TINY, registry=registry
        )
        self._batch = Histogram(
            name + "commit_batch_size",
            "Transitions in a group commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )
        self._files = Gauge(
            name + "source_files", "Files and documents of the source, by state.", ("state",), registry=registry
        )
        self._synced = Gauge(
            name + "source_last_sync_timestamp_seconds", "When the source was last scanned whole.", registry=registry
        )
        self._events = Counter(
            name + "events",
            "Assure Events received, by what became of them; forged, oversized and unreadable ones are refused.",
            ("result",),
            registry=registry,
        )
        self._last_event = Gauge(
            name + "last_event_timestamp_seconds", "When the last genuine event was received.", registry=registry
        )
        self._deliveries = Counter(
            name + "deliveries",
            "Notices to sinks: delivered, failed (tried again) or dropped (the backlog of a sink is bounded).",
            ("result",),
            registry=registry,
        )
        self._dropped = Counter(
            name + "connections_dropped",
            "Connections that a listener ended before their peer did, by the bound that they exceeded.",
            ("listener", "reason"),
            registry=registry,
        )
        for listener, dropped in product(LISTENERS, Dropped):
            self._dropped.labels(listener, dropped)
        for received in Received:
            self._events.labels(received)
        for result in ("delivered", "failed", "dropped"):
            self._deliveries.labels(result)
        self._budget = Gauge(
            name + "start_budget_remaining",
            "Starts that MAX_STARTS_PER_DAY still allows today; +Inf without a brake.",
            registry=registry,
        )
        self._budget.set(float("inf"))
        self._backups = Gauge(
            name + "backup_interval_seconds", "Between two backups that the agent makes; 0: none.", registry=registry
        )
        self._skew = Gauge(
            name + "clock_skew_seconds",
            "How far the host's clock is ahead of Assure's; NaN while no answer told the time.",
            registry=registry,
        )
        self._skew.set(float("nan"))
        self._confirmed = Gauge(
            name + "clock_confirmed",
            "0 while the time may be wrong: requests wait, and nothing is deleted because of the time.",
            registry=registry,
        )
        self._confirmed.set(1)
        self._circuit = Gauge(
            name + "circuit_open",
            "1 while nothing is sent to Assure but a probe now and then, because calls go wrong whoever makes them.",
            registry=registry,
        )
        self._endpoint = Gauge(
            name + "endpoint_trouble",
            "1 while calls to an endpoint (assure, token, or a sink) fail, by cause.",
            ("endpoint", "cause"),
            registry=registry,
        )
        build = Gauge(name + "build_info", "The version that runs.", ("version",), registry=registry)
        build.labels(version=__version__).set(1)
        registry.register(_LogCollector())
        for mode, outcome in product(_MODES, Outcome):
            self._duration.labels(mode, outcome)
        for phase in Phase:
            if phase is not Phase.DONE:
                self._phase.labels(phase)
        for operation in Operation:
            for result in ("done", "refused", "busy", "unknown"):
                children = self._calls.labels(operation, result), self._call_duration.labels(operation)
                self._of_call[operation, result] = children

    @harmless
    def called(self, operation: Operation, result: str, seconds: float) -> None:
        """A call to Assure was answered, or not."""
        count, duration = self._of_call[operation, result]
        count.inc()
        duration.observe(seconds)

    @harmless
    def committed(self, seconds: float, pieces: int) -> None:
        """A group commit came to its end."""
        self._commit.observe(seconds)
        self._batch.observe(pieces)

    @harmless
    def received(self, received: Received) -> None:
        """An Assure Event was received, or what claimed to be one."""
        self._events.labels(received).inc()
        if received.genuine:
            self._last_event.set(self._clock.now())

    @harmless
    def dropped(self, listener: str, reason: Dropped) -> None:
        """A listener, one of LISTENERS, ended a connection."""
        self._dropped.labels(listener, reason).inc()

    @harmless
    def delivered(self, result: str, number: int) -> None:
        """So many notices were delivered to a sink, failed or were dropped."""
        self._deliveries.labels(result).inc(number)

    @harmless
    def stepped(self, step: Step) -> None:
        """A step was committed."""
        before, record = step.before, step.record
        if before is None or before.phase is record.phase:
            return
        which = {"uid": record.uid}  # the exemplar of a bucket leads to `explain`
        self._phase.labels(before.phase).observe(max(0.0, record.phase_at - before.phase_at), which)
        if record.phase is Phase.DONE and record.done_at is not None and record.outcome is not None:
            took = record.done_at - record.admitted_at
            self._duration.labels(record.desired.mode, record.outcome).observe(took, which)
            if record.dossier_id is not None and record.delete_at is not None:
                self._deletion.observe(max(0.0, record.done_at - record.delete_at), which)

    @harmless
    def synced(self, files: int, refused: int, waiting: int, passed_over: int, complete: bool) -> None:
        """The source was scanned."""
        self._files.labels("seen").set(files)
        self._files.labels("refused").set(refused)
        self._files.labels("waiting_withdrawal").set(waiting)
        self._files.labels("passed_over").set(passed_over)
        if complete:
            self._synced.set(self._clock.now())

    def clock(self, skew: Callable[[], float | None], confirmed: Callable[[], bool]) -> None:
        """Ask the clock whenever the metrics are asked for; NaN while Assure told no time."""

        def ahead() -> float:
            found = skew()
            return float("nan") if found is None else found

        self._skew.set_function(ahead)
        self._confirmed.set_function(lambda: float(confirmed()))

    def brake(self, left: Callable[[], int | None]) -> None:
        """Ask how many starts are left today whenever the metrics are asked for."""

        def remaining() -> float:
            found = left()
            return float("inf") if found is None else float(found)

        self._budget.set_function(remaining)

    def backups(self, interval: float) -> None:
        """Backups are made at this interval, in seconds."""
        self._backups.set(interval)

    @harmless
    def circuit(self, is_open: bool) -> None:
        """The circuit opened, or closed."""
        self._circuit.set(is_open)

    def endpoints(self, names: Iterable[str]) -> None:
        """These are asked; every series from the start."""
        for endpoint, cause in product(names, EndpointCause):
            self._endpoint.labels(endpoint, cause).set(0)

    def endpoint(self, name: str, before: Trouble | None, after: Trouble | None) -> None:
        """The trouble of an endpoint began, changed its cause, or ended."""
        if before is not None:
            self._endpoint.labels(name, before.cause).set(0)
        if after is not None:
            self._endpoint.labels(name, after.cause).set(1)

    def watch(self, look: Callable[[], AbstractContextManager[Figures]]) -> None:
        """Look into the store whenever the metrics are asked for."""
        self.registry.register(_StoreCollector(look, self._clock))


class _LogCollector(Collector):
    """Lines of the log that were lost, in this process."""

    def collect(self) -> Iterable[Metric]:
        """The counter."""
        yield CounterMetricFamily(
            "assure_agent_log_lines_lost",
            "Log lines that could not be written: the disk is full, or nobody reads them.",
            value=lost.value,
        )


class _StoreCollector(Collector):
    """What is true across restarts."""

    def __init__(self, look: Callable[[], AbstractContextManager[Figures]], clock: Clock) -> None:
        self._look = look
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """One snapshot of the store, as metrics."""
        with self._look() as figures:
            yield from _requests(figures)
            yield from _counters(figures)
            for name, value in figures.gauges(self._clock.now()).items():
                yield GaugeMetricFamily("assure_agent_" + name, GAUGES[name], value=value)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead: the store may not be there yet."""
        return ()


GAUGES = {
    "store_bytes": "Size of the state file and its log.",
    "open_dossiers": "Dossiers of ours that are at Assure.",
    "oldest_open_dossier_seconds": "Age of the request with the oldest open dossier.",
    "oldest_unprogressed_seconds": "Time since the last progress of the active request that made none for longest.",
    "deletions_overdue": "Deletions without progress for more than 15 minutes.",
    "images_undeleted": "Requests whose image files could not be deleted as IMAGES_AFTER_UPLOAD says; tried again.",
    "claims_overdue": "Claims that should have been erased more than 15 minutes ago.",
    "paused": "1 while a person has paused the agent: nothing new is begun.",
    "backup_timestamp_seconds": "When the last backup was made and checked; 0: never.",
    "deliveries_pending": "Notices that sinks have not taken yet.",
    "possible_orphans": "Dossiers that may exist at Assure because the answer to their creation was lost.",
    "orphans_undeleted": "Those of them that showed, are no request's, and are not deleted yet.",
}


def _requests(figures: Figures) -> Iterable[Metric]:
    counts = GaugeMetricFamily("assure_agent_requests", "Requests by phase and state.", labels=("phase", "state"))
    for (phase, state), count in figures.counts().items():
        counts.add_metric((phase, state), count)
    yield counts
    held = GaugeMetricFamily("assure_agent_held", "Requests that wait for a person.", labels=("reason",))
    found = dict(figures.held())
    for reason in HoldReason:
        held.add_metric((reason,), found.get(reason, 0))
    yield held


def _counters(figures: Figures) -> Iterable[Metric]:
    """Every series from the start, so that `rate` sees the first increment."""
    outcomes = CounterMetricFamily(
        "assure_agent_outcomes", "Outcomes of verifications.", labels=("mode", "process_type", "outcome")
    )
    counted = dict.fromkeys(product(_MODES, ProcessType, Outcome), 0)
    for mode, process_type, outcome, value in figures.tallies("outcome"):
        counted[mode, ProcessType(process_type), Outcome(outcome)] = value
    for labels, value in counted.items():
        outcomes.add_metric(labels, value)
    yield outcomes
    starts = dict.fromkeys(_MODES, 0)
    for mode, _, _, value in figures.tallies("start"):
        starts[mode] += value
    family = CounterMetricFamily("assure_agent_starts", "Billable starts, captures included.", labels=("mode",))
    for mode, value in starts.items():
        family.add_metric((mode,), value)
    yield family
