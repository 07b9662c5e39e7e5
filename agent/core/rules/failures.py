"""Rules for trouble, in any phase, and for the time that passes."""

from agent.core.answer import NOT_SENT, Evidence, Trouble
from agent.core.effect import EffectKind
from agent.core.fast_replace import replace
from agent.core.observations import (
    Answered,
    CameDue,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    Observation,
    Resumed,
    TargetMissing,
)
from agent.core.policy import Policy
from agent.core.record import HoldReason, Intent, Outcome, Phase, Record
from agent.core.retry import backoff, objected, quoted, surprising
from agent.core.rules.recovery import resumed_capture
from agent.core.rules.transitions import close, hold


def came_due(record: Record, _: CameDue, __: Policy) -> Record:
    return record


def resumed(record: Record, seen: Resumed, policy: Policy) -> Record:
    if record.intent is None:
        return record
    if policy.recovering and record.intent.kind is EffectKind.START_CAPTURE:
        return resumed_capture(record, seen.at)
    return _doubted(record, record.intent, seen, policy)


def refused(record: Record, seen: EffectRefused, policy: Policy) -> Record:
    if not seen.kind.changes:
        return _surprised(record, seen, seen.kind, seen.evidence, policy)
    if record.resent and record.intent is not None:
        return _doubted(record, record.intent, seen, policy)  # no image is taken any more: was it started after all?
    evidence = f"{seen.kind} {seen.evidence.status or ''}".strip()
    return hold(replace(record, intent=None), HoldReason.REFUSED, seen.at, evidence)


def delayed(record: Record, seen: EffectDelayed, policy: Policy) -> Record:
    """It did not happen. A call that was kept back, because there is no token or a circuit is open, counts no failure:
    the request comes back as soon as calls go out again, whatever it met before."""
    unsent = seen.evidence.trouble is Trouble.NO_TOKEN or seen.evidence.cause == NOT_SENT
    failures = max(record.failures, 1) if unsent else record.failures + 1
    floor = policy.read_gap if not seen.kind.changes else policy.backoff_base / 2
    wait = max(backoff(1 if unsent else failures, seen.chance, policy, floor), seen.retry_after or 0.0)
    return replace(record, intent=None, failures=failures, not_before=seen.at + wait)


def unanswered(record: Record, seen: EffectUnanswered, policy: Policy) -> Record:
    if record.intent is not None:
        return _doubted(record, record.intent, seen, policy)
    if surprising(seen.evidence):
        return _surprised(record, seen, seen.kind, seen.evidence, policy)
    failures = record.failures + 1
    wait = backoff(failures, seen.chance, policy, floor=policy.read_gap)
    return replace(record, failures=failures, not_before=seen.at + wait)


def _doubted(record: Record, intent: Intent, seen: Observation, policy: Policy) -> Record:
    """The answer to an effect is unknown: it may have happened. From now on a read decides."""
    failures = max(record.failures, record.repeats, record.attempt - 1) + 1
    wait = backoff(failures, seen.chance, policy, floor=policy.read_gap)
    objection = objected(intent.kind, seen.evidence) if isinstance(seen, Answered) else None
    unexpected = objection is not None and objection.reason is HoldReason.SURPRISE
    doubted = replace(
        record,
        intent=None,
        doubt=intent.kind,
        doubt_since=seen.at,
        objection=objection,
        objections=min(record.objections + unexpected, policy.surprises + 1),
        searched_at=None,
        failures=failures,
        pending=False,
        pending_since=None,
        unsure=record.unsure or intent.kind is EffectKind.CREATE_PROCESS,
        not_before=seen.at + wait,
    )
    if intent.kind is EffectKind.START_CAPTURE:
        return _lost_link(record, doubted, seen.at, policy)
    if intent.kind is EffectKind.CREATE_DOSSIER:
        return replace(doubted, not_before=seen.at)  # a list is read, not this dossier: no need to wait
    return doubted


def _lost_link(record: Record, doubted: Record, at: float, policy: Policy) -> Record:
    """Nobody holds the link that was lost: delete the dossier, begin again; a person decides where surprises go on."""
    closed, objection = close(doubted, at), doubted.objection
    if objection is None or objection.reason is not HoldReason.SURPRISE or doubted.objections <= policy.surprises:
        return closed
    return hold(closed, objection.reason, at, objection.evidence)


def _surprised(record: Record, seen: Observation, kind: EffectKind, evidence: Evidence, policy: Policy) -> Record:
    """A read was answered with something the contract does not know: ask again, then hold."""
    surprises = record.surprises + 1
    wait = seen.at + backoff(surprises, seen.chance, policy, floor=policy.read_gap)
    asked = replace(record, surprises=surprises, not_before=wait)
    if surprises <= policy.surprises or record.phase is Phase.DELETION:
        return asked
    return hold(asked, HoldReason.SURPRISE, seen.at, quoted(kind, evidence))


def missing(record: Record, seen: TargetMissing, policy: Policy) -> Record:
    """One 404 is not "gone": it takes some confirmations over a grace period."""
    if seen.kind is EffectKind.START_VERIFICATION and record.intent is not None:
        return _doubted(record, record.intent, seen, policy)  # no answer but success proves anything of a start
    missing, since = record.missing + 1, record.missing_since or seen.at
    if missing >= policy.missing_confirmations and seen.at - since >= policy.missing_grace:
        return close(replace(record, intent=None), seen.at, Outcome.LOST)
    wait = seen.at + backoff(missing, seen.chance, policy, floor=policy.read_gap)
    return replace(record, intent=None, missing=missing, missing_since=since, not_before=wait)
