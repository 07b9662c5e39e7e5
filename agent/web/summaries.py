"""One request in one line, and one hold with what to do about it: the pieces that several pages are made of."""

from typing import Any

from agent.core.record import Phase, Record
from agent.views.explain import HOLDS, PHASES, answers


def line(record: Record, now: float) -> dict[str, Any]:
    """A request in a list."""
    settled = record.phase is Phase.DONE and record.outcome is not None
    return {
        "uid": record.uid,
        "name": record.name or record.uid,
        "badge": record.outcome if settled else record.state,
        "hint": "" if settled else record.phase.value,
        "says": _says(record, now),
        "at": (record.done_at if settled else None) or record.phase_at,
    }


def _says(record: Record, now: float) -> str:
    if record.phase is Phase.DONE:
        return f"{record.desired.mode}, settled in {short((record.done_at or now) - record.admitted_at)}"
    if record.hold is not None:
        return HOLDS[record.hold.reason][0]
    if record.queued:
        return "waits for the budget of the day"
    if record.resting and record.delete_at is not None:
        return f"{record.outcome}; its dossier is kept for another {short(record.delete_at - now)}"
    if record.desired.suspend and record.phase is not Phase.DELETION:
        return "nothing happens until its file does not suspend it any more"
    return PHASES[record.phase]


def held(record: Record) -> dict[str, Any]:
    """A hold: what it means, and the exact commands that answer it."""
    hold = record.hold
    assert hold is not None
    meaning, remedy = HOLDS[hold.reason]
    commands, annotation = answers(record, hold)
    return {
        "uid": record.uid,
        "name": record.name or record.uid,
        "id": hold.id,
        "reason": hold.reason,
        "at": hold.at,
        "phase": record.phase.value,
        "evidence": hold.evidence,
        "meaning": meaning,
        "remedy": remedy,
        "commands": commands,
        "annotation": annotation,
    }


def short(seconds: float) -> str:
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


def ended(text: str) -> str:
    """A sentence with one mark at its end."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
