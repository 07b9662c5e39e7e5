"""How an intent was answered, as the history keeps it: one line for each effect that was asked of Assure [I4]."""

from dataclasses import dataclass

from agent.core.answer import CallResult, Evidence, Trouble
from agent.core.observations import Answered, Observation, answered_effect
from agent.core.record import Record

_CRASHED = Evidence(trouble=Trouble.CRASHED, cause="crashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """How an intent was answered."""

    number: int
    result: CallResult
    evidence: Evidence


def call_result(observation: Observation) -> tuple[CallResult, str] | None:
    """What Assure's answer was, and its trace id, or "": of a read as well. None when Assure was not asked."""
    kind = answered_effect(observation)
    if kind is None or kind.local or not isinstance(observation, Answered):
        return None
    return observation.result, observation.evidence.trace_id


def attempt_result(record: Record, observation: Observation) -> Attempted | None:
    """How the open intent of the record is answered by the observation; None when none is open."""
    if record.intent is None:
        return None
    if not isinstance(observation, Answered):
        return Attempted(number=record.intent.number, result=CallResult.UNKNOWN, evidence=_CRASHED)
    return Attempted(number=record.intent.number, result=observation.result, evidence=observation.evidence)
