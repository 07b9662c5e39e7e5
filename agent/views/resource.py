"""A request as JSON, the same for the command line and the HTTP API. An absent value is null."""

from typing import Any, Protocol

from agent.core.conditions import conditions
from agent.core.record import Phase, Record
from agent.core.timestamps import format_optional_timestamp, format_timestamp

BUDGET, RETENTION = "budget", "retention"


def reason_of(record: Record) -> str | None:
    """Why the request waits: the reason of its hold, the start budget, or its retention. None for other requests."""
    if record.hold is not None:
        return record.hold.reason
    return BUDGET if record.queued else RETENTION if record.in_retention else None


def record_json(record: Record) -> dict[str, Any]:
    """The fields that every output about a request has."""
    return {
        "name": record.name,
        "generation": record.generation,
        "mode": record.desired.mode,
        "phase": record.phase,
        "state": record.state,
        "outcome": record.outcome,
    }


def request_json(record: Record) -> dict[str, Any]:
    """The fields of a request (design §9)."""
    hold = record.hold
    settled = record.done_at if record.phase is Phase.DONE else hold.at if hold is not None else None
    return {
        "name": record.name,  # repeated, so that `uid` comes second (design §9)
        "uid": record.uid,
        **record_json(record),
        "reason": hold.reason if hold is not None else None,
        "holdId": hold.id if hold is not None else None,
        "holdEvidence": (hold.evidence or None) if hold is not None else None,
        "externalReference": record.reference if record.opened_at is not None else None,
        "dossierId": record.dossier_id,
        "processId": record.process_id,
        "due": format_optional_timestamp(record.due_at),
        "deadline": format_optional_timestamp(record.deadline_at),
        "admittedAt": format_optional_timestamp(record.admitted_at),
        "settledAt": format_optional_timestamp(settled),
        "commit": record.desired.commit,
    }


def request_status_json(record: Record) -> dict[str, Any]:
    """A request with its labels and conditions, as the HTTP API returns it."""
    return {
        **request_json(record),
        "labels": dict(record.desired.labels),
        "observedGeneration": record.generation,
        "conditions": conditions_json(record),
    }


FIELDS = (
    "name", "uid", "generation", "mode", "phase", "state", "outcome", "reason", "holdId", "holdEvidence",
    "externalReference", "dossierId", "processId", "due", "deadline", "admittedAt", "settledAt",
    "commit",
)  # fmt: skip
"""The keys of `request_json`, in its order."""


def conditions_json(record: Record) -> list[dict[str, Any]]:
    """The conditions of a request."""
    return [
        {
            "type": condition.type,
            "status": "True" if condition.holds else "False",
            "reason": condition.reason,
            "observedGeneration": record.generation,
            "lastTransitionTime": format_timestamp(condition.at),
        }
        for condition in conditions(record)
    ]


class Location(Protocol):
    """A fault of a request file, or a stored refusal."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...


def fault_json(fault: Location) -> dict[str, Any]:
    """A fault with its position and its remedy."""
    return {
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "message": fault.message,
        "hint": fault.hint,
    }


class LoggedCall(Protocol):
    """A call in the audit log, with Assure's answer."""

    @property
    def number(self) -> int: ...
    @property
    def result(self) -> str: ...
    @property
    def status(self) -> int | None: ...
    @property
    def trouble(self) -> str | None: ...
    @property
    def trace_id(self) -> str | None: ...
    @property
    def words(self) -> str | None: ...


def answer_json(call: LoggedCall) -> dict[str, Any]:
    """The answer to a logged call."""
    return {
        "result": call.result,
        "status": call.status,
        "trouble": call.trouble,
        "traceId": call.trace_id or None,
        "words": call.words or None,
    }
