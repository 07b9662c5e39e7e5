"""What people want, and the privacy clock: heeded after each observation, whatever it was."""

from agent.core.effect import EffectKind
from agent.core.errors import required
from agent.core.fast_replace import replace
from agent.core.next_effect import deletion_deadline, overdue
from agent.core.observations import Observation, answered_effect
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.transitions import next_generation, start_deletion


def apply_terminations(record: Record, at: float, policy: Policy) -> Record:
    """Withdraw, supersede or expire, when no effect is open and no created dossier is still to be found."""
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
    """Delete at once. A removed file ends what has no outcome yet: nothing begins again without it."""
    ended = record.outcome is None and record.next is None
    return replace(
        record,
        delete_at=min(record.delete_at or at, at),
        outcome=Outcome.WITHDRAWN if ended else record.outcome,
        outcome_at=at if ended else record.outcome_at,
    )


def count_late_read(before: Record, after: Record, observation: Observation, policy: Policy) -> Record:
    """Count what was read after the deadline: a look that decides nothing is asked again, but not for ever."""
    kind = answered_effect(observation)
    reads = kind is not None and not kind.mutates and not kind.local
    if not reads or after.phase in (Phase.DELETION, Phase.DONE) or not overdue(before, observation.at, policy):
        return after
    return replace(after, late_reads=min(after.late_reads + 1, policy.late_read_limit))


def _late_reads_finished(record: Record, at: float, policy: Policy) -> bool:
    """The deadline reads once more before it decides, unless nothing was started or a person is asked anyway.

    An Assure that tells nothing of this one for long does not keep it from that. While no agent ran, or Assure answered
    nobody, it was not asked; then nothing could be deleted either.
    """
    # An adopted dossier whose processes were not read yet.
    unread = record.phase is Phase.PROCESS and record.create_unknown and record.doubt is EffectKind.CREATE_PROCESS
    clock = required(deletion_deadline(record, policy), "the deadline")
    if not (record.billed or unread) or (record.hold is not None and _user_had_time(record.hold, clock)):
        return True
    if record.read_at is not None and record.read_at >= clock and record.result is None:
        return True
    return at >= clock + policy.late_read_window and record.late_reads >= policy.late_read_limit


def _user_had_time(hold: Hold, clock: float) -> bool:
    """True when a person had the time to answer. What looks lead to is asked, and they go on: the next may tell."""
    if hold.reason is HoldReason.CLAIMS_NOT_KEPT:
        return hold.at < clock
    return hold.reason.blocks and hold.reason is not HoldReason.UNEXPECTED_ANSWER
