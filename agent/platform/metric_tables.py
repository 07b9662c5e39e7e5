"""The name, help text, labels and buckets of each metric. Labels are bounded: never a name, never an id."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent import __version__
from agent.core.answer import Operation
from agent.core.drop_reasons import Dropped
from agent.core.event_result import EventResult
from agent.core.hook_result import HookResult
from agent.core.record import Outcome, Phase
from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.endpoint_health import EndpointCause

PREFIX: Final = "assure_agent_"
MODES: Final = ("upload", "capture")
FETCHED: Final = "ok"
LISTENERS: Final = ("listen", "events_listen")
_HOUR, _DAY = 3600, 86400
_LONG_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, _HOUR, 4 * _HOUR, 12 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY)
_DELAY_BUCKETS = (1, 5, 15, 60, 300, 900, 1800, _HOUR, 4 * _HOUR, 12 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY)  # 900: the SLO
_SHORT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TINY_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_FETCH_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True)
class Definition:
    """`labels` maps each label to the values whose series exist from the start. Empty: series appear with use."""

    help: str
    labels: Mapping[str, Iterable[str]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


HISTOGRAMS: Final = {
    "request_duration_seconds": Definition(
        "Seconds from the admission of a request to the end of its work.",
        {"mode": MODES, "outcome": Outcome},
        _LONG_BUCKETS,
    ),
    "phase_duration_seconds": Definition(
        "Seconds that a request spent in a phase.",
        {"phase": [phase for phase in Phase if phase is not Phase.DONE]},
        _LONG_BUCKETS,
    ),
    "deletion_delay_seconds": Definition(
        "Seconds from the deadline of a deletion to its confirmation.", buckets=_DELAY_BUCKETS
    ),
    "api_request_duration_seconds": Definition(
        "Duration of HTTP requests to Assure, in seconds.", {"operation": Operation}, _SHORT_BUCKETS
    ),
    "commit_duration_seconds": Definition("Duration of a group commit, in seconds.", buckets=_TINY_BUCKETS),
    "source_fetch_duration_seconds": Definition(
        "Duration of a fetch from the git source, in seconds. With nothing new, it is one question.",
        buckets=_FETCH_BUCKETS,
    ),
    "commit_batch_size": Definition("Transitions in a group commit.", buckets=_BATCH_BUCKETS),
}

COUNTERS: Final = {
    "api_requests": Definition(
        "HTTP requests to Assure, by result: done, refused, busy (did not happen) or unknown (may have happened).",
        {"operation": Operation, "result": ("done", "refused", "busy", "unknown")},
    ),
    "events": Definition(
        "Assure Events received, by result. Forged, oversized and unreadable events are refused.",
        {"result": EventResult},
    ),
    "moved": Definition(
        "Commits that the store refused, because the record had changed meanwhile. Above 0 is a bug with a state file."
    ),
    "source_hooks": Definition(
        "Hooks received at /hooks/source, by result. Only an accepted hook makes the agent fetch.",
        {"result": HookResult},
    ),
    "source_fetches": Definition(
        "Fetches from the git source, by result: ok, or the cause of the failure.",
        {"result": (FETCHED, *FetchFailure)},
    ),
    "deliveries": Definition(
        "Notifications to sinks: delivered, failed (sent again later) or dropped (the backlog of a sink is bounded).",
        {"result": ("delivered", "failed", "dropped")},
    ),
    "connections_dropped": Definition(
        "Connections that a listener closed before the peer did, by the limit that they exceeded.",
        {"listener": LISTENERS, "reason": Dropped},
    ),
}

GAUGES: Final = {
    "source_files": Definition("Files and documents of the source, by state.", {"state": ()}),
    "source_last_sync_timestamp_seconds": Definition("Unix time of the last complete scan of the source."),
    "source_scan_complete": Definition("1 if the last scan read the whole source, 0 if it could not."),
    "source_interval_seconds": Definition("Seconds between two fetches from the git source, or 0 without SOURCE_URL."),
    "source_fetched_timestamp_seconds": Definition(
        "Unix time of the last successful fetch from the git source; before the first, the start of the agent."
    ),
    "source_fetch_failing": Definition(
        "1 while fetches from the git source fail, by cause; otherwise 0.", {"cause": FetchFailure}
    ),
    "source_revision_refused": Definition(
        "1 while the agent does not act on the fetched revision, by reason; otherwise 0.", {"reason": RevisionRefusal}
    ),
    "source_revision_timestamp_seconds": Definition(
        "Unix time at which the revision that the agent acts on was committed, or 0 without one."
    ),
    "source_lagging": Definition(
        "1 while the revision of this replica is not the one that was acted on last, nor a descendant; otherwise 0."
    ),
    "last_event_timestamp_seconds": Definition("Unix time at which the last genuine Assure Event was received."),
    "start_budget_remaining": Definition("Starts that MAX_STARTS_PER_DAY still allows today, or +Inf without a limit."),
    "backup_interval_seconds": Definition("Seconds between two backups that the agent makes, or 0 without backups."),
    "clock_skew_seconds": Definition(
        "Seconds by which the host's clock is ahead of Assure's; NaN until Assure has sent its time."
    ),
    "clock_confirmed": Definition(
        "0 while the time may be wrong, so that requests wait and no deadline deletes anything. Otherwise 1."
    ),
    "database_behind": Definition(
        "1 while the database lacks a transaction that it had confirmed to this replica; otherwise 0."
    ),
    "database_away": Definition(
        "1 while the server of the database does not answer and everything waits for it; otherwise 0."
    ),
    "lease_remaining_seconds": Definition(
        "Seconds until this replica may no longer call Assure without a renewal of its lease; +Inf for a state file."
    ),
    "requests_driven": Definition("Requests that this replica works on now."),
    "circuit_open": Definition("1 while the circuit breaker is open and only probes are sent to Assure; otherwise 0."),
    "endpoint_trouble": Definition(
        "1 while calls to an endpoint (assure, token, or a sink) fail, by cause; otherwise 0.",
        {"endpoint": (), "cause": EndpointCause},
    ),
    "build_info": Definition("Always 1; the label is the version of the running agent.", {"version": (__version__,)}),
}

STORE_GAUGES: Final = {
    "replicas": "Agents that run on the store: 1 with a state file, or the living replicas of a database.",
    "oldest_snapshot_seconds": "Age of the database's oldest open transaction, in seconds; absent for a state file.",
    "store_bytes": "Size of the state file and its write-ahead log, or of the tables of the database, in bytes.",
    "store_free_bytes": "Bytes that this user can still write to the file system of the state file; absent if unknown.",
    "open_dossiers": "Dossiers that the agent created at Assure and has not deleted yet.",
    "oldest_open_dossier_seconds": "Age of the oldest request with an open dossier, in seconds.",
    "oldest_unprogressed_seconds": "Seconds since the most stalled active request last made progress.",
    "deletions_overdue": "Deletions without progress for more than 15 minutes.",
    "images_undeleted": "Requests whose image files IMAGES_AFTER_UPLOAD could not delete yet.",
    "claims_overdue": "Claims that should have been erased more than 15 minutes ago.",
    "paused": "1 while an operator has paused the agent and no new work starts; otherwise 0.",
    "backup_timestamp_seconds": "Unix time of the last verified backup, or 0 before the first.",
    "deliveries_pending": "Notifications that wait for delivery to a sink.",
    "possible_orphans": "Dossiers that may exist at Assure because the answer to their creation was lost.",
    "orphans_undeleted": "Orphaned dossiers found at Assure and not yet deleted.",
}
"""Gauges without labels that are read from the store."""
