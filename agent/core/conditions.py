"""The conditions of a request, as in Kubernetes, each with a reason.

- Ready: the request is finished.
- Reconciling: the request continues automatically, or waits for a known time.
- Stalled: the request waits for the operator.

A request has one of them. A request that continues while the operator decides about its changed file is both
Reconciling and Stalled.
"""

from dataclasses import dataclass
from typing import Literal

from agent.core.record import HoldReason, Outcome, Phase, Record

Name = Literal["Ready", "Reconciling", "Stalled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition. `at` is the time of its last change, as precisely as the record contains it."""

    type: Name
    holds: bool
    reason: str  # one of REASONS
    at: float


def _reason(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("-"))


NOT_SETTLED = "NotSettled"
SETTLED = "Settled"
SUSPENDED = "Suspended"
BUDGET = "WaitingForBudget"
RETENTION = "InRetention"
NOT_STALLED = "NotStalled"
REASONS = frozenset(
    {NOT_SETTLED, SETTLED, SUSPENDED, BUDGET, RETENTION, NOT_STALLED}
    | {f"{phase.value.capitalize()}Pending" for phase in Phase if phase is not Phase.DONE}
    | {_reason(outcome.value) for outcome in Outcome}
    | {_reason(hold.value) for hold in HoldReason}
)


def conditions(record: Record) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled, in this order."""
    return _ready(record), _reconciling(record), _stalled(record)


def _ready(record: Record) -> Condition:
    """Ready: the request has an outcome, and nothing of it is left at Assure."""
    ready = record.phase is Phase.DONE
    reason = _reason(record.outcome.value) if ready and record.outcome is not None else NOT_SETTLED
    return Condition(type="Ready", holds=ready, reason=reason, at=record.phase_at)


def _reconciling(record: Record) -> Condition:
    going = record.phase is not Phase.DONE and not _is_blocked(record)
    if not going:
        reason = SETTLED if record.phase is Phase.DONE else _stalled(record).reason
    elif record.queued:
        reason = BUDGET
    elif record.in_retention:
        reason = RETENTION
    else:
        reason = f"{record.phase.value.capitalize()}Pending"
    return Condition(type="Reconciling", holds=going, reason=reason, at=record.phase_at)


def _stalled(record: Record) -> Condition:
    if record.hold is not None:
        return Condition(type="Stalled", holds=True, reason=_reason(record.hold.reason.value), at=record.hold.at)
    suspended = _is_blocked(record)
    return Condition(
        type="Stalled", holds=suspended, reason=SUSPENDED if suspended else NOT_STALLED, at=record.phase_at
    )


def _is_blocked(record: Record) -> bool:
    """True while the agent does nothing for the request except to keep its deadline."""
    if record.phase in (Phase.DELETION, Phase.DONE):
        return False
    return record.blocked
