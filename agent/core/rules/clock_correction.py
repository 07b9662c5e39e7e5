"""The rule for a corrected clock: it moves the times that the wrong clock wrote, so that deadlines stay correct."""

from typing import Any

from agent.core.fast_replace import replace
from agent.core.observations import ClockCorrected
from agent.core.policy import Policy
from agent.core.record import Record

_PAST = (
    "admitted_at",
    "opened_at",
    "outcome_at",
    "done_at",
    "shown_at",
    "doubt_since",
    "searched_at",
    "pending_since",
    "missing_since",
    "read_at",
    "phase_at",
)


def clock_corrected(record: Record, observation: ClockCorrected, _: Policy) -> Record:
    """Move the times that the wrong clock wrote and what they scheduled, never to later than the correct time."""
    wrong_from = observation.since if observation.by > 0 else observation.at

    def moved(at: float) -> float:
        return min(at + observation.by, observation.at) if at > wrong_from else at

    times = {name: getattr(record, name) for name in _PAST}
    changes: dict[str, Any] = {name: moved(at) for name, at in times.items() if at is not None and at > wrong_from}
    if record.delete_at is not None and record.outcome_at is None and record.delete_at > wrong_from:
        changes["delete_at"] = moved(record.delete_at)  # deletion at once, before another attempt
    elif record.delete_at is not None and "outcome_at" in changes:
        changes["delete_at"] = record.delete_at + changes["outcome_at"] - times["outcome_at"]
    if record.hold is not None and record.hold.at > wrong_from:
        changes["hold"] = replace(record.hold, at=moved(record.hold.at))
    if (
        observation.by < 0
        and record.not_before > observation.at
        and (changes or record.not_before > observation.at - observation.by / 2)
    ):
        # The wrong clock scheduled this time.
        changes["not_before"] = record.not_before + observation.by
    return replace(record, **changes) if changes else record
