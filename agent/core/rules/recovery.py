"""Rules for a past that was lost: the store was lost, is an older copy, or was restored (design §7).

What Assure still has under the references of a request says more of its past than the record does. A dossier of a
later generation or attempt is adopted, and read before anything is created in it; what is in it decides: a pending
process goes on, one that was started is observed, a final one is the result. A dossier with a process is the last one:
another attempt begins only once it is deleted. Where several could count, where a dossier is empty (it may be the shell
of an unanswered create, and a later attempt long done), or where nothing is there to be seen, only a person can tell:
what is done leaves no trace at Assure, so "nothing" does not mean "never". What is there and is started is adopted all
the same while it is asked about: whatever the person says, nothing is started beside it.

That counts for whatever would begin: for what is to follow once a dossier is deleted (another attempt, a changed file,
a rerun) it is asked as soon as it is known that something follows, so that it is shown before anybody approves.
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
    effect_succeeded,
    has_successor,
    next_generation,
    place_hold,
)

NOT_SEARCHED = "unseen"  # not looked for yet
NOT_FOUND = "not-found"
SEVERAL_STARTED = "several-started"
OTHER_TYPE = "other-process-type"
EMPTY = "empty-dossier"
FOREIGN_DOSSIER = "dossier-of-another"


def hold_history_lost(record: Record, at: float, evidence: str = NOT_SEARCHED) -> Record:
    """Nothing is begun before a person says so."""
    held = place_hold(record, HoldReason.HISTORY_LOST, at)
    return replace(held, hold=replace(required(held.hold, "the hold"), evidence=evidence))


def is_foreign(record: Record, reference: str | None) -> bool:
    """True when an agent made the dossier for another request. One made by hand a person may choose."""
    made_for = Reference.parse(reference)
    return made_for is not None and made_for.uid != record.uid


def release_foreign_dossier(record: Record, at: float, policy: Policy) -> Record:
    """A person chose a dossier of somebody else: nothing is done in it, least of all deleted, and we ask again."""
    without = replace(effect_succeeded(record), phase=Phase.DOSSIER, **FRESH_DOSSIER)
    if policy.recovering:
        return hold_history_lost(without, at, FOREIGN_DOSSIER)
    return place_hold(without, HoldReason.UNEXPECTED_ANSWER, at, FOREIGN_DOSSIER)


# Only a start leads there; what is pending may fail at Assure, or be canceled, without one.
_STARTED = frozenset({Status.PROCESSING, Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE})


def proves_store_is_stale(record: Record, found: FoundDossier) -> bool:
    """True when Assure shows what this record would know of, were it not behind: each intent is on file first [I4].

    What unanswered calls may have left is no sign: a dossier of an earlier attempt, or what is in doubt. One under the
    reference at hand is a sign before its creation was asked for, also where Assure was too busy for it: it made none.
    """
    if found.dossier_id == record.dossier_id:
        return _not_requested(record, found)
    known = (record.generation, record.attempt)
    if (found.generation, found.attempt) == known:
        asked = EffectKind.CREATE_DOSSIER in (record.doubt, record.intent and record.intent.kind)
        return record.opened_at is None or (record.phase is Phase.DOSSIER and (_has_processes(found) or not asked))
    return (found.generation, found.attempt) > known


def _not_requested(record: Record, found: FoundDossier) -> bool:
    """True when a process is in this dossier, or was started, and nobody asked for that."""
    if record.create_unknown or record.billed:
        return False
    if record.phase is Phase.PROCESS:
        return record.intent is None and record.doubt is None and _has_processes(found)
    waiting = record.phase in (Phase.IMAGES, Phase.VERIFICATION)
    return waiting and any(process.status in _STARTED for process in found.processes)


def hold_if_recovering(before: Record, after: Record, observation: Observation, policy: Policy) -> Record:
    """Whatever a step lets follow, a person is asked first whether it was done already; while the store recovers.

    What our own calls lead to is ours: their intents are on file, and what they are about was asked for before. So is
    what a person said to go on with.
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
    """True when another generation began with this step, or will begin because of it."""
    if after.generation > before.generation:
        return after.phase is Phase.DOSSIER
    known = has_successor(before) and after.next == before.next and not isinstance(observation, HistoryLost)
    return has_successor(after) and not known


def resumed_capture(record: Record, at: float) -> Record:
    """The answer to the start of a capture is lost, and so is what came after it: the link may be in use, or done with.

    Its dossier is looked for before it is given up.
    """
    return hold_history_lost(replace(record, intent=None, create_unknown=True), at)


def history_lost(record: Record, observation: HistoryLost, _: Policy) -> Record:
    """Fold in what Assure shows of this request. `hold_if_recovering` holds the follow-up of a deletion."""
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
        return hold_history_lost(record, observation.at, EMPTY)  # the link may be out, and not opened yet
    if record.phase in _READ_AGAIN:
        record = _clear_history_hold(record, observation)
        unread = replace(record, create_unknown=True, pending=False, pending_since=None, not_before=observation.at)
        kind = _READ_AGAIN[record.phase]
        return unread if kind is None else replace(unread, doubt=kind, doubt_since=observation.at)
    return replace(record, not_before=observation.at) if record.phase is Phase.RESULT else record


def _clear_history_hold(record: Record, observation: HistoryLost) -> Record:
    """A question that what Assure shows has answered, or has made another one."""
    ours = next((one for one in observation.found if one.dossier_id == record.dossier_id), None)
    reason = record.hold.reason if record.hold is not None else None
    if reason is HoldReason.HISTORY_LOST and _has_processes(ours):
        return replace(record, hold=None)
    if reason is HoldReason.BACK_IMAGE_REQUIRED and ours is None:
        # The answer to the hold may have been given, and led to another attempt.
        return hold_history_lost(record, observation.at, NOT_FOUND)
    return record


# What is doubted from now on, so that it is read before it is believed; a start needs a read anyway.
_READ_AGAIN: dict[Phase, EffectKind | None] = {
    Phase.PROCESS: EffectKind.CREATE_PROCESS,
    Phase.IMAGES: EffectKind.UPLOAD_IMAGES,
    Phase.VERIFICATION: None,
}


def _latest(found: tuple[FoundDossier, ...]) -> FoundDossier | None:
    """That of the last generation in which something was started; else the one of its last attempt."""
    return max(
        found, key=lambda one: (one.generation, started_process(one.processes) is not None, one.attempt), default=None
    )


def _ambiguity(record: Record, found: tuple[FoundDossier, ...]) -> str:
    """Why nobody but a person can tell what counts; empty when it is clear."""
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
    """True when this dossier is of a later attempt than the record knows, or of one whose answer it does not know."""
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
