"""One request in one line, and one hold with what to do about it: the pieces that several pages are made of."""

from typing import Any

from agent.core.duration import format_duration
from agent.core.policy import Policy
from agent.core.record import Phase, Record
from agent.sentences import HOLDS, PHASES, answers, coming


def line(record: Record, now: float, policy: Policy) -> dict[str, Any]:
    """A request in a list."""
    settled = record.phase is Phase.DONE and record.outcome is not None
    return {
        "uid": record.uid,
        "name": record.name or record.uid,
        "badge": record.outcome if settled else record.state,
        "hint": "" if settled else record.phase.value,
        "says": _says(record, now, policy),
        "at": (record.done_at if settled else None) or record.phase_at,
    }


def _says(record: Record, now: float, policy: Policy) -> str:
    if record.phase is Phase.DONE:
        took = (record.done_at or now) - record.admitted_at
        return f"{record.desired.mode}, settled in {short(took)}"
    if record.hold is not None:
        return HOLDS[record.hold.reason][0]
    if record.state == "active":
        return PHASES[record.phase]
    return "waits for the budget of the day" if record.queued else coming(record, now, policy).sentence


def held(record: Record) -> dict[str, Any]:
    """A hold: what it means, and the exact commands that answer it."""
    hold = record.hold
    assert hold is not None
    meaning, remedy = HOLDS[hold.reason]
    commands, annotation = answers(record.name, hold)
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
    """A duration at a glance: `0.4s`, `12s`, `3m5s`, `2h10m`, `9d`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    unit = 1 if seconds < 3600 else 60 if seconds < 86400 else 86400
    return format_duration(float(seconds // unit * unit))
