"""The conditions of a request, in the way of Kubernetes: Ready, Reconciling, Stalled, each with a reason.

Exactly one of three things is true of a request: it is settled for good (Ready), it goes on by itself or waits for a
time that will come (Reconciling), or it stands still until a person acts (Stalled). A request whose verification
goes on while a person is asked about its file is both Reconciling and Stalled.
"""

from dataclasses import dataclass
from typing import Literal

from agent.core.record import HoldReason, Outcome, Phase, Record

Name = Literal["Ready", "Reconciling", "Stalled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition; `at` is when it became what it is, as near as the record tells."""

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
    | {f"Owes{phase.value.capitalize()}" for phase in Phase if phase is not Phase.DONE}
    | {_reason(outcome.value) for outcome in Outcome}
    | {_reason(hold.value) for hold in HoldReason}
)


def conditions(record: Record) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled, in this order."""
    return _ready(record), _reconciling(record), _stalled(record)


def _ready(record: Record) -> Condition:
    """Ready: there is an outcome and nothing of it is left at Assure."""
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
        reason = f"Owes{record.phase.value.capitalize()}"
    return Condition(type="Reconciling", holds=going, reason=reason, at=record.phase_at)


def _stalled(record: Record) -> Condition:
    if record.hold is not None:
        return Condition(type="Stalled", holds=True, reason=_reason(record.hold.reason.value), at=record.hold.at)
    suspended = _is_blocked(record)
    return Condition(
        type="Stalled", holds=suspended, reason=SUSPENDED if suspended else NOT_STALLED, at=record.phase_at
    )


def _is_blocked(record: Record) -> bool:
    """True while nothing is done for it but to keep its privacy clock."""
    if record.phase in (Phase.DELETION, Phase.DONE):
        return False
    return record.blocked
