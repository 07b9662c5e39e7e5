"""One request for an auditor, and its events with answers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A request. `name` is None when it was forgotten."""

    uid: str
    name: str | None
    row: dict[str, Any]  # of `requests`


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAnswer:
    """The answer of Assure to the call of an event. `result` is its class."""

    number: int
    effect: str
    result: str
    status: int | None
    trouble: str | None
    trace_id: str | None
    words: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One event. `event` counts in the order of writing, `seq` within the request. `at` is in seconds, UTC."""

    event: int
    uid: str
    seq: int
    at: float
    type: str
    changes: dict[str, Any]
    hash: str
    name: str | None = None  # of the request; None if it was forgotten
    reply: LoggedAnswer | None = None
