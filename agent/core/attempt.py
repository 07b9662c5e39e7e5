"""The answer to an intent, as the audit log keeps it: one entry for each effect that was sent to Assure [I4]."""

from dataclasses import dataclass

from agent.core.answer import CallResult, Evidence, Trouble
from agent.core.effect import EffectKind
from agent.core.observations import Answered, Observation
from agent.core.record import Record

_CRASHED = Evidence(trouble=Trouble.CRASHED, cause="crashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """The answer to an intent."""

    number: int
    result: CallResult
    evidence: Evidence


def call_result(observation: Observation, kind: EffectKind | None) -> tuple[CallResult, str] | None:
    """The class of the answer to this kind of effect, and its trace id or "". None when no call was sent."""
    if kind is None or kind.local or not isinstance(observation, Answered):
        return None
    return observation.result, observation.evidence.trace_id


def attempt_result(record: Record, observation: Observation) -> Attempted | None:
    """The answer that the observation gives to the open intent. None when no intent is open."""
    if record.intent is None:
        return None
    if not isinstance(observation, Answered):
        return Attempted(number=record.intent.number, result=CallResult.UNKNOWN, evidence=_CRASHED)
    return Attempted(number=record.intent.number, result=observation.result, evidence=observation.evidence)
