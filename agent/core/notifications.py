"""What the web application is told of a request: which notices follow from a step.

A notice holds closed words and ids of ours only: no name, no label, no link. Who tells it looks the name up [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from agent.core.machine import Step
from agent.core.record import Phase, Record


class NoticeType(StrEnum):
    """What happened; the type of the event that a sink gets."""

    CAPTURE_READY = "capture.ready"  # there is a capture link for the person; the link itself is not told
    SETTLED = "settled"  # the outcome is durable; the deletion of the dossier follows
    HELD = "held"  # a person of the team has to decide
    DELETED = "deleted"  # the dossier is deleted at Assure, and reading it back has confirmed that


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell. `reason` and `hold_id` belong to `held`, `outcome` to `settled` and `deleted`."""

    type: NoticeType
    generation: int
    at: float
    outcome: str | None = None
    reason: str | None = None
    hold_id: str | None = None


def notices(step: Step) -> tuple[Notice, ...]:
    """What this step is worth telling, in order."""
    return tuple(_told(step.before, step.record, step)) if step.events else ()


def _told(before: Record | None, record: Record, step: Step) -> Iterator[Notice]:
    at = step.events[-1].at
    if before is not None and _deleted(before, record):
        yield Notice(type=NoticeType.DELETED, generation=before.generation, at=at, outcome=before.outcome)
    if step.link is not None:
        yield Notice(type=NoticeType.CAPTURE_READY, generation=record.generation, at=at)
    known = before is not None and before.generation == record.generation and before.outcome is record.outcome
    if record.outcome is not None and not known:
        yield Notice(type=NoticeType.SETTLED, generation=record.generation, at=at, outcome=record.outcome)
    if (hold := step.held) is not None:
        yield Notice(type=NoticeType.HELD, generation=record.generation, at=at, reason=hold.reason, hold_id=hold.id)


def _deleted(before: Record, record: Record) -> bool:
    """The deletion ended with its confirmation, for good or for the next generation; not for another attempt."""
    left = record.phase is Phase.DONE or record.generation != before.generation
    return before.phase is Phase.DELETION and left
