"""Withdrawal, supersession and expiry, applied after each observation."""

from agent.core.effect import EffectKind
from agent.core.errors import required
from agent.core.fast_replace import replace
from agent.core.next_effect import deletion_deadline, overdue
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.transitions import next_generation, start_deletion


def apply_terminations(record: Record, at: float, policy: Policy) -> Record:
    """Withdraw, supersede or expire the generation, unless an effect is open or a created dossier is not found yet."""
    if record.intent is not None or record.doubt is EffectKind.CREATE_DOSSIER:
        return record
    if record.phase is Phase.DONE:
        return record if record.next is None else next_generation(record, record.next, at)
    if record.phase is Phase.DELETION:
        return _delete_now(record, at) if record.next is not None or not record.present else record
    if record.next is not None:
        return start_deletion(record, at)
    if not record.present:
        return start_deletion(record, at, Outcome.WITHDRAWN)
    if not policy.clock_unconfirmed and overdue(record, at, policy) and _late_reads_finished(record, at, policy):
        return start_deletion(record, at, Outcome.EXPIRED)
    return record


def _delete_now(record: Record, at: float) -> Record:
    """Delete at once. If there is no outcome yet, a removed file gives one: no attempt follows without the file."""
    ended = record.outcome is None and record.next is None
    return replace(
        record,
        delete_at=min(record.delete_at or at, at),
        outcome=Outcome.WITHDRAWN if ended else record.outcome,
        outcome_at=at if ended else record.outcome_at,
    )


def count_late_read(before: Record, after: Record, kind: EffectKind | None, at: float, policy: Policy) -> Record:
    """Count an answer to a read after the deadline. Such reads are repeated, but only up to a limit."""
    if kind is None or kind.mutates or kind.local:
        return after
    if after.phase in (Phase.DELETION, Phase.DONE) or not overdue(before, at, policy):
        return after
    return replace(after, late_reads=min(after.late_reads + 1, policy.late_read_limit))


def _late_reads_finished(record: Record, at: float, policy: Policy) -> bool:
    """True when the deadline may decide. A start or an adopted dossier needs one more read, unless the request is held.

    Reads without a result end after `late_read_limit` reads and `late_read_window`. While the agent does not run or the
    circuit breaker is open, there are no reads. The agent could not delete anything then either.
    """
    # An adopted dossier whose processes the agent did not read yet.
    unread = record.phase is Phase.PROCESS and record.create_unknown and record.doubt is EffectKind.CREATE_PROCESS
    clock = required(deletion_deadline(record, policy), "the deadline")
    if not (record.billed or unread) or (record.hold is not None and _user_had_time(record.hold, clock)):
        return True
    if record.read_at is not None and record.read_at >= clock and record.result is None:
        return True
    return at >= clock + policy.late_read_window and record.late_reads >= policy.late_read_limit


def _user_had_time(hold: Hold, clock: float) -> bool:
    """True when the operator had time to resolve the hold. After an unexpected answer, reads continue."""
    if hold.reason is HoldReason.CLAIMS_NOT_KEPT:
        return hold.at < clock
    return hold.reason.blocks and hold.reason is not HoldReason.UNEXPECTED_ANSWER
