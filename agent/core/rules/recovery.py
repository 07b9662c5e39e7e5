"""Rules for a lost, older or restored store (design §7).

Assure's dossiers under the references of a request may show more of its past than the record does.

- The agent adopts a dossier of a later generation or attempt, and reads it before it creates anything in it.
  A pending process continues, a started one is observed, a final one gives the result.
- A dossier with a process is the last one: another attempt begins only after its deletion.
- The operator decides when several dossiers could apply, when a dossier is empty, or when there is none. An empty one
  may be left by an unanswered create before a later attempt. Finished work leaves no trace at Assure, so "no dossier"
  does not prove "never started".
- A started process is adopted during the hold as well. After any decision, the agent starts nothing next to it.

The same applies to the successor of a deletion: another attempt, a changed file, a rerun. It is held as soon as the
agent knows about it, so that the operator sees it before an approval.
"""

from agent.core.assure_types import FoundDossier, Status
from agent.core.effect import EffectKind
from agent.core.errors import required
from agent.core.fast_replace import replace
from agent.core.lost_answers import started_process
from agent.core.observations import Answered, HistoryLost, HoldResolved, Observation
from agent.core.policy import Policy
from agent.core.record import HoldReason, Phase, Record
from agent.core.reference import Reference
from agent.core.rules.transitions import (
    FAILURES_RESET,
    FRESH_DOSSIER,
    SUCCEEDED,
    has_successor,
    next_generation,
    place_hold,
)

NOT_SEARCHED = "unseen"  # not searched yet
NOT_FOUND = "not-found"
SEVERAL_STARTED = "several-started"
OTHER_TYPE = "other-process-type"
EMPTY = "empty-dossier"
FOREIGN_DOSSIER = "dossier-of-another"


def hold_history_lost(record: Record, at: float, evidence: str = NOT_SEARCHED) -> Record:
    """Hold the request until the operator decides."""
    held = place_hold(record, HoldReason.HISTORY_LOST, at)
    return replace(held, hold=replace(required(held.hold, "the hold"), evidence=evidence))


def is_foreign(record: Record, reference: str | None) -> bool:
    """True when an agent created the dossier for another request. The operator may adopt one created by hand."""
    made_for = Reference.parse(reference)
    return made_for is not None and made_for.uid != record.uid


def release_foreign_dossier(record: Record, at: float, policy: Policy) -> Record:
    """Release an adopted dossier of another request, change nothing in it, and hold the request again."""
    without = replace(record, phase=Phase.DOSSIER, not_before=0.0, **SUCCEEDED, **FRESH_DOSSIER)
    if policy.recovering:
        return hold_history_lost(without, at, FOREIGN_DOSSIER)
    return place_hold(without, HoldReason.UNEXPECTED_ANSWER, at, FOREIGN_DOSSIER)


# Only a start leads to these statuses. A pending process may fail or be canceled without a start.
_STARTED = frozenset({Status.PROCESSING, Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE})


def proves_store_is_stale(record: Record, found: FoundDossier) -> bool:
    """True when Assure has something that the record would contain if it were current: each intent is committed first.

    Possible results of unanswered calls prove nothing: a dossier of an earlier attempt, or one in doubt. A dossier
    under the current reference proves it before its create was requested, also when Assure's answer was busy.
    """
    if found.dossier_id == record.dossier_id:
        return _not_requested(record, found)
    known = (record.generation, record.attempt)
    if (found.generation, found.attempt) == known:
        asked = EffectKind.CREATE_DOSSIER in (record.doubt, record.intent and record.intent.kind)
        return record.opened_at is None or (record.phase is Phase.DOSSIER and (_has_processes(found) or not asked))
    return (found.generation, found.attempt) > known


def _not_requested(record: Record, found: FoundDossier) -> bool:
    """True when the dossier contains a process, or a started one, that the record did not request."""
    if record.create_unknown or record.billed:
        return False
    if record.phase is Phase.PROCESS:
        return record.intent is None and record.doubt is None and _has_processes(found)
    waiting = record.phase in (Phase.IMAGES, Phase.VERIFICATION)
    return waiting and any(process.status in _STARTED for process in found.processes)


def hold_if_recovering(before: Record, after: Record, observation: Observation, policy: Policy) -> Record:
    """While the store is recovering, hold each new start until the operator confirms that it was not already done.

    Answers to calls of the agent are exempt, because their intents are committed. So is an answer to such a hold.
    """
    if after.hold is not None and after.hold.reason is HoldReason.HISTORY_LOST:
        settled = after.phase in (Phase.DELETION, Phase.DONE) and not has_successor(after)
        return replace(after, hold=None) if settled else after
    question = before.hold.reason if before.hold is not None else None
    answers_hold = isinstance(observation, HoldResolved) and question is HoldReason.HISTORY_LOST
    if (
        not policy.recovering
        or answers_hold
        or isinstance(observation, Answered)
        or not _starts_successor(before, after, observation)
    ):
        return after
    return hold_history_lost(after, observation.at, NOT_FOUND if isinstance(observation, HistoryLost) else NOT_SEARCHED)


def _starts_successor(before: Record, after: Record, observation: Observation) -> bool:
    """True when the step started another generation, or requires one."""
    if after.generation > before.generation:
        return after.phase is Phase.DOSSIER
    known = has_successor(before) and after.next == before.next and not isinstance(observation, HistoryLost)
    return has_successor(after) and not known


def resumed_capture(record: Record, at: float) -> Record:
    """Hold a request whose start of a capture has no answer. The end user may have used the link, or finished.

    The recovery searches for its dossier before the agent gives it up.
    """
    return hold_history_lost(replace(record, intent=None, create_unknown=True), at)


def history_lost(record: Record, observation: HistoryLost, _: Policy) -> Record:
    """Apply the dossiers that Assure lists for this request. `hold_if_recovering` holds the successor of a deletion."""
    latest = _latest(observation.found)
    ahead = latest is not None and _is_newer(latest, record)
    if latest is not None and ahead:
        record = _adopt(record, latest, observation.at)
    if doubt := _ambiguity(record, observation.found):
        return hold_history_lost(record, observation.at, doubt) if record.phase is not Phase.DONE else record
    if ahead:
        return record
    if record.phase is Phase.DOSSIER:
        return hold_history_lost(record, observation.at, NOT_FOUND)
    if record.phase is Phase.PROCESS and record.desired.capture is not None and not _has_processes(latest):
        return hold_history_lost(
            record, observation.at, EMPTY
        )  # the end user may have the link and not have opened it yet
    if record.phase in _READ_AGAIN:
        record = _clear_history_hold(record, observation)
        unread = replace(record, create_unknown=True, pending=False, pending_since=None, not_before=observation.at)
        kind = _READ_AGAIN[record.phase]
        return unread if kind is None else replace(unread, doubt=kind, doubt_since=observation.at)
    return replace(record, not_before=observation.at) if record.phase is Phase.RESULT else record


def _clear_history_hold(record: Record, observation: HistoryLost) -> Record:
    """Drop or replace a hold that the listed dossiers resolve."""
    ours = next((one for one in observation.found if one.dossier_id == record.dossier_id), None)
    reason = record.hold.reason if record.hold is not None else None
    if reason is HoldReason.HISTORY_LOST and _has_processes(ours):
        return replace(record, hold=None)
    if reason is HoldReason.BACK_IMAGE_REQUIRED and ours is None:
        # The operator may have resolved the hold, which started another attempt.
        return hold_history_lost(record, observation.at, NOT_FOUND)
    return record


# The effect whose answer is now in doubt, so that a read comes first. A start needs a read anyway.
_READ_AGAIN: dict[Phase, EffectKind | None] = {
    Phase.PROCESS: EffectKind.CREATE_PROCESS,
    Phase.IMAGES: EffectKind.UPLOAD_IMAGES,
    Phase.VERIFICATION: None,
}


def _latest(found: tuple[FoundDossier, ...]) -> FoundDossier | None:
    """The dossier of the last generation, preferably one with a started process, then that of the last attempt."""
    return max(
        found, key=lambda one: (one.generation, started_process(one.processes) is not None, one.attempt), default=None
    )


def _ambiguity(record: Record, found: tuple[FoundDossier, ...]) -> str:
    """The reason why the operator must choose the process. Empty when it is clear."""
    moving = None
    for one in found:
        if one.dossier_id == record.dossier_id:
            moving = started_process(one.processes)
        elif one.generation == record.generation and started_process(one.processes) is not None:
            return SEVERAL_STARTED
    if moving is not None and moving.process_type != record.desired.process_type:
        return OTHER_TYPE
    return ""


def _is_newer(found: FoundDossier, record: Record) -> bool:
    """True when the dossier belongs to a later attempt, or to the current one whose create has no answer."""
    known = (record.generation, record.attempt)
    unanswered = record.phase is Phase.DOSSIER and (found.generation, found.attempt) == known
    return unanswered or (found.generation, found.attempt) > known


def _adopt(record: Record, found: FoundDossier, at: float) -> Record:
    if found.generation > record.generation:
        record = next_generation(record, record.next or record.desired, at)
    adopted = replace(
        record,
        phase=Phase.PROCESS,
        generation=found.generation,
        attempt=found.attempt,
        hold=None if record.hold is not None and record.hold.reason.blocks else record.hold,
        opened_at=found.opened_at if found.opened_at is not None else record.opened_at or at,
        not_before=at,
        doubt=EffectKind.CREATE_PROCESS,
        doubt_since=at,
        queued=False,
        **FAILURES_RESET,
        **FRESH_DOSSIER | {"dossier_id": found.dossier_id, "create_unknown": True},
    )
    return adopted if _has_processes(found) else hold_history_lost(adopted, at, EMPTY)


def _has_processes(found: FoundDossier | None) -> bool:
    return found is not None and bool(found.processes)
