"""Parts of several pages: a request in one line, and a hold with its commands."""

from typing import Any

from agent.core.record import Phase, Record
from agent.views.holds import HOLDS, hold_help
from agent.views.phrases import PHASES, SUSPENDED_REMEDY


def summary_line(record: Record, now: float) -> dict[str, Any]:
    """One line of a list."""
    settled = record.phase is Phase.DONE and record.outcome is not None
    return {
        "uid": record.uid,
        "name": record.name or record.uid,
        "badge": record.outcome if settled else record.state,
        "hint": "" if settled else record.phase.value,
        "says": _summary(record, now),
        "at": (record.done_at if settled else None) or record.phase_at,
    }


def _summary(record: Record, now: float) -> str:
    if record.phase is Phase.DONE:
        return f"{record.desired.mode}, settled in {short_duration((record.done_at or now) - record.admitted_at)}"
    if record.hold is not None:
        return HOLDS[record.hold.reason][0]
    if record.queued:
        return "waits for the start budget of the next day"
    if record.in_retention and record.delete_at is not None:
        return f"{record.outcome}; its dossier is deleted in {short_duration(record.delete_at - now)}"
    if record.desired.suspend and record.phase is not Phase.DELETION:
        return f"suspended: {SUSPENDED_REMEDY}"
    return PHASES[record.phase]


def hold_summary(record: Record) -> dict[str, Any]:
    """A hold: its meaning, and the exact commands that answer it."""
    hold = record.hold
    assert hold is not None
    return {
        "uid": record.uid,
        "name": record.name or record.uid,
        "id": hold.id,
        "reason": hold.reason,
        "at": hold.at,
        "phase": record.phase.value,
        "evidence": hold.evidence,
        **hold_help(record, hold),
    }


def short_duration(seconds: float) -> str:
    """A duration at a glance: `40ms`, `1.4s`, `12s`, `3m 5s`, `2h 10m`, `9d 4h`."""
    if seconds < 1:
        return f"{round(1000 * max(0.0, seconds))}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for unit, name, below, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit}{name}" + (f" {rest}{lower}" if rest else "")
    return f"{whole}s"


def with_full_stop(text: str) -> str:
    """The text with exactly one punctuation mark at its end."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
