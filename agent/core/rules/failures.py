"""Rules for failed calls, in any phase, and for the timer."""

from agent.core import observations as o
from agent.core.answer import NOT_HERE, NOT_SENT, Evidence, Trouble
from agent.core.effect import EffectKind
from agent.core.fast_replace import replace
from agent.core.policy import Policy
from agent.core.record import HoldReason, Intent, Outcome, Phase, Record
from agent.core.retry import backoff, hold_evidence, is_unexpected, remote_objection
from agent.core.rules.recovery import resumed_capture
from agent.core.rules.transitions import place_hold, start_deletion


def timer_fired(record: Record, _: o.TimerFired, __: Policy) -> Record:
    return record


def resumed(record: Record, observation: o.Resumed, policy: Policy) -> Record:
    if record.intent is None:
        return record
    if policy.recovering and record.intent.kind is EffectKind.START_CAPTURE:
        return resumed_capture(record, observation.at)
    return _start_doubt(record, record.intent, observation, policy)


def refused(record: Record, observation: o.EffectRefused, policy: Policy) -> Record:
    if not observation.kind.mutates:
        return _unexpected_answer(record, observation, observation.kind, observation.evidence, policy)
    if record.resent and record.intent is not None:
        # Assure does not accept images after a start, so the verification may have started.
        return _start_doubt(record, record.intent, observation, policy)
    evidence = observation.evidence
    said = " ".join(str(part) for part in (observation.kind, evidence.status, evidence.words) if part)
    return place_hold(replace(record, intent=None), HoldReason.REFUSED, observation.at, said)


def delayed(record: Record, observation: o.EffectDelayed, policy: Policy) -> Record:
    """Schedule a repeat. A call that was not sent, because of the token, the circuit breaker or an image that another
    replica may have, counts as no failure.

    Such a request is due again as soon as calls are possible, after any number of earlier failures.
    """
    unsent = observation.evidence.trouble is Trouble.NO_TOKEN or observation.evidence.cause in (NOT_SENT, NOT_HERE)
    failures = max(record.failures, 1) if unsent else record.failures + 1
    floor = policy.min_read_interval if not observation.kind.mutates else policy.backoff_base / 2
    wait = max(backoff(1 if unsent else failures, observation.jitter, policy, floor), observation.retry_after or 0.0)
    return replace(record, intent=None, failures=failures, not_before=observation.at + wait)


def unanswered(record: Record, observation: o.EffectUnanswered, policy: Policy) -> Record:
    if record.intent is not None:
        return _start_doubt(record, record.intent, observation, policy)
    if is_unexpected(observation.evidence):
        return _unexpected_answer(record, observation, observation.kind, observation.evidence, policy)
    failures = record.failures + 1
    wait = backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, failures=failures, not_before=observation.at + wait)


def _start_doubt(record: Record, intent: Intent, observation: o.Observation, policy: Policy) -> Record:
    """Record that the answer to an effect is unknown. A read decides now."""
    failures = max(record.failures, record.repeats, record.attempt - 1) + 1
    wait = backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    objection = remote_objection(intent.kind, observation.evidence) if isinstance(observation, o.Answered) else None
    unexpected = objection is not None and objection.reason is HoldReason.UNEXPECTED_ANSWER
    doubted = replace(
        record,
        intent=None,
        doubt=intent.kind,
        doubt_since=observation.at,
        objection=objection,
        objections=min(record.objections + unexpected, policy.unexpected_answers + 1),
        searched_at=None,
        failures=failures,
        pending=False,
        pending_since=None,
        create_unknown=record.create_unknown or intent.kind is EffectKind.CREATE_PROCESS,
        not_before=observation.at + wait,
    )
    if intent.kind is EffectKind.START_CAPTURE:
        return _lost_link(record, doubted, observation.at, policy)
    if intent.kind is EffectKind.CREATE_DOSSIER:
        return replace(
            doubted, not_before=observation.at
        )  # the next read is a list, not this dossier, so no wait is necessary
    return doubted


def _lost_link(record: Record, doubted: Record, at: float, policy: Policy) -> Record:
    """Delete the dossier of the lost link and start again. Hold the request after repeated unexpected answers."""
    closed, objection = start_deletion(doubted, at), doubted.objection
    if (
        objection is None
        or objection.reason is not HoldReason.UNEXPECTED_ANSWER
        or doubted.objections <= policy.unexpected_answers
    ):
        return closed
    return place_hold(closed, objection.reason, at, objection.evidence)


def _unexpected_answer(
    record: Record, observation: o.Observation, kind: EffectKind, evidence: Evidence, policy: Policy
) -> Record:
    """Repeat a read after an unexpected answer; hold the request after several of them."""
    unexpected = record.unexpected_answers + 1
    wait = observation.at + backoff(unexpected, observation.jitter, policy, floor=policy.min_read_interval)
    waiting = replace(record, unexpected_answers=unexpected, not_before=wait)
    if unexpected <= policy.unexpected_answers or record.phase is Phase.DELETION:
        return waiting
    return place_hold(waiting, HoldReason.UNEXPECTED_ANSWER, observation.at, hold_evidence(kind, evidence))


def missing(record: Record, observation: o.TargetMissing, policy: Policy) -> Record:
    """Count a 404. The target is lost after several of them over `missing_grace`."""
    if observation.kind is EffectKind.START_VERIFICATION and record.intent is not None:
        # Only the documented success proves anything about a start.
        return _start_doubt(record, record.intent, observation, policy)
    missing, since = record.missing + 1, record.missing_since or observation.at
    if missing >= policy.missing_confirmations and observation.at - since >= policy.missing_grace:
        return start_deletion(replace(record, intent=None), observation.at, Outcome.LOST)
    wait = observation.at + backoff(missing, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, intent=None, missing=missing, missing_since=since, not_before=wait)
