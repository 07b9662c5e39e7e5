"""Transitions of a record: to the deletion, to the next attempt or generation, to a hold."""

import hashlib
from typing import Any

from agent.core.errors import Impossible
from agent.core.fast_replace import replace
from agent.core.record import Desired, Hold, HoldReason, Outcome, Phase, Record, Result


def start_deletion(record: Record, at: float, outcome: Outcome | None = None, result: Result | None = None) -> Record:
    """Start the deletion of the dossier. Without a dossier, continue with the successor.

    Without an outcome and a next generation, another attempt follows. It keeps `not_before`, so that a call that always
    fails does not create dossiers in a busy loop.
    """
    if outcome is not None and result is None and record.outcome is None and record.result is not None:
        # Assure's result is known, and only its claims could not be kept: it takes precedence over later causes.
        outcome, result = Outcome(record.result.status.value), record.result
    keep = record.hold if record.hold is not None and _hold_survives(record.hold, outcome) else None
    rest = record.desired.retention if result is not None and record.present and record.next is None else 0.0
    closed = replace(
        record,
        phase=Phase.DELETION,
        outcome=outcome,
        result=result,
        hold=keep,
        outcome_at=at if outcome is not None else None,
        delete_at=at + rest,
        queued=False,
        not_before=record.not_before if outcome is None and record.next is None else 0.0,
        **DOUBT_CLEARED,
        **FAILURES_RESET,
    )
    return closed if record.dossier_id is not None else complete(closed, at)


def _hold_survives(question: Hold, outcome: Outcome | None) -> bool:
    """True for a hold about the document, and for a lost history while an attempt or generation follows."""
    return not question.reason.blocks or (question.reason is HoldReason.HISTORY_LOST and outcome is None)


def has_successor(record: Record) -> bool:
    """True when another generation or attempt starts after the deletion."""
    return record.phase is Phase.DELETION and (record.next is not None or record.outcome is None)


def complete(record: Record, at: float) -> Record:
    """Finish after the deletion: `done`, the next generation, or another attempt."""
    if record.next is not None:
        return next_generation(record, record.next, at)
    if record.outcome is not None:
        return replace(record, phase=Phase.DONE, done_at=at, deleted=record.dossier_id is not None, **FAILURES_RESET)
    if record.billed:
        raise Impossible("A billed generation has no outcome and would be attempted again [I2].")
    return next_attempt(record)


def next_attempt(record: Record) -> Record:
    """Start another attempt with a new dossier under a new reference."""
    return replace(
        record,
        phase=Phase.DOSSIER,
        attempt=record.attempt + 1,
        delete_at=None,
        **DOUBT_CLEARED,
        **FRESH_DOSSIER,
    )


def next_generation(record: Record, desired: Desired, at: float) -> Record:
    """Start the next generation. A hold for a lost history carries over to it."""
    asked = record.hold if record.hold is not None and record.hold.reason is HoldReason.HISTORY_LOST else None
    return Record(
        uid=record.uid,
        name=record.name,
        source=record.source,
        agent=record.agent,
        desired=desired,
        present=record.present,
        reruns=applied_reruns(record, desired),
        generation=record.generation + 1,
        hold=asked,
        intents=record.intents,
        admitted_at=at,
        not_before=at,
    )


def applied_reruns(record: Record, desired: Desired) -> tuple[str, ...]:
    """The tokens that started a generation, including that of this document."""
    if desired.rerun is None or record.has_applied_rerun(desired.rerun):
        return record.reruns
    return (*record.reruns, desired.rerun)


DOUBT_CLEARED: dict[str, Any] = {"doubt": None, "doubt_since": None, "searched_at": None, "objection": None}
FAILURES_RESET: dict[str, Any] = {
    "failures": 0,
    "unexpected_answers": 0,
    "late_reads": 0,
    "missing": 0,
    "missing_since": None,
}
SUCCEEDED: dict[str, Any] = {"intent": None, **DOUBT_CLEARED, **FAILURES_RESET}
FRESH_DOSSIER: dict[str, Any] = {
    "dossier_id": None,
    "process_id": None,
    "document_pages": None,
    "create_unknown": False,
    "uploaded": False,
    "resent": False,
    "repeats": 0,
    "discard": False,
    "pending": False,
    "pending_since": None,
    "deleted": False,
    "read_at": None,
}


def place_hold(record: Record, reason: HoldReason, at: float, evidence: str = "", essence: str = "") -> Record:
    """Hold the request for the operator. The hold id is a hash of the hold, so that a step is deterministic."""
    if record.hold is not None and record.hold.reason is reason and record.hold.essence == essence:
        return record
    question = f"{record.uid}/{record.generation}/{reason}/{essence}/{at}"
    hold_id = "h-" + hashlib.sha256(question.encode()).hexdigest()[:6]
    return replace(record, hold=Hold(id=hold_id, reason=reason, at=at, evidence=evidence, essence=essence))
