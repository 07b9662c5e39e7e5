"""The notices of a step for the sinks.

A notice contains only codes and ids of the agent: no name, no label, no capture link. The dispatcher adds the
name [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.core.record import Hold, Phase, Record

EVENT_TYPE_PREFIX: Final = "example.assure-agent."
"""The reversed name of the project's site. CloudEvents asks for such a prefix of `type`."""


class NoticeType(StrEnum):
    """The type of a notice. A sink receives it with `EVENT_TYPE_PREFIX`."""

    CAPTURE_READY = "capture.ready"  # a capture link for the end user exists; the notice does not contain it
    SETTLED = "settled"  # the outcome is committed; the deletion of the dossier follows
    HELD = "held"  # the operator has to decide
    DELETED = "deleted"  # the dossier is deleted at Assure, and a read confirmed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice. `held` has `reason` and `hold_id`; `settled` and `deleted` have `outcome`."""

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
    """True when the step confirmed the deletion, and no further attempt of the generation follows."""
    if before.phase is not Phase.DELETION:
        return False
    return record.phase is Phase.DONE or record.generation != before.generation
