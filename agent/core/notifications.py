"""The notices for the web application: which of them follow from a step.

A notice has closed tokens and the agent's own ids only: no name, no label, no link. The dispatcher adds the name [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from agent.core.record import Hold, Phase, Record


class NoticeType(StrEnum):
    """The type of the event that a sink receives."""

    CAPTURE_READY = "capture.ready"  # the end user's capture link exists; the notice does not contain it
    SETTLED = "settled"  # the outcome is durable; the deletion of the dossier follows
    HELD = "held"  # the operator has to decide
    DELETED = "deleted"  # Assure deleted the dossier, and a read has confirmed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice. `reason` and `hold_id` belong to `held`, `outcome` to `settled` and `deleted`."""

    type: NoticeType
    generation: int
    at: float
    outcome: str | None = None
    reason: str | None = None
    hold_id: str | None = None


def notices(before: Record | None, record: Record, at: float, has_link: bool, hold: Hold | None) -> Iterator[Notice]:
    """The notices of a step, in order. `has_link`: it made a capture link. `hold`: it began this hold."""
    if before is not None and _deleted(before, record):
        yield Notice(type=NoticeType.DELETED, generation=before.generation, at=at, outcome=before.outcome)
    if has_link:
        yield Notice(type=NoticeType.CAPTURE_READY, generation=record.generation, at=at)
    known = before is not None and before.generation == record.generation and before.outcome is record.outcome
    if record.outcome is not None and not known:
        yield Notice(type=NoticeType.SETTLED, generation=record.generation, at=at, outcome=record.outcome)
    if hold is not None:
        yield Notice(type=NoticeType.HELD, generation=record.generation, at=at, reason=hold.reason, hold_id=hold.id)


def _deleted(before: Record, record: Record) -> bool:
    """True if the deletion ended with its confirmation, for good or for the next generation; not for a new attempt."""
    left = record.phase is Phase.DONE or record.generation != before.generation
    return before.phase is Phase.DELETION and left
