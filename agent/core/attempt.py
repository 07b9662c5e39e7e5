"""How an intent was answered, as the history keeps it: one line for each effect that was asked of Assure [I4]."""

from dataclasses import dataclass

from agent.core.answer import Evidence, Trouble
from agent.core.observations import (
    Answered,
    DocumentTypeGone,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesUnfit,
    Observation,
    Resumed,
    TargetMissing,
    answer_to,
)
from agent.core.record import Record

_CRASHED = Evidence(trouble=Trouble.CRASHED, cause="crashed")
RESULTS: dict[type[Observation], str] = {  # of the call that an observation answers, where it is not "done"
    Resumed: "unknown",
    ImagesUnfit: "refused",
    DocumentTypeGone: "refused",
    EffectRefused: "refused",
    TargetMissing: "refused",
    EffectDelayed: "busy",
    EffectUnanswered: "unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """How an intent was answered: `result` is done, refused, busy or unknown."""

    number: int
    result: str
    evidence: Evidence


def heard(observation: Observation) -> tuple[str, str] | None:
    """What Assure's answer was, and its trace id, or "": of a read as well. None when Assure was not asked."""
    kind = answer_to(observation)
    if kind is None or kind.local or not isinstance(observation, Answered):
        return None
    return RESULTS.get(type(observation), "done"), observation.evidence.trace_id


def attempted(record: Record, observation: Observation) -> Attempted | None:
    """How the open intent of the record is answered by the observation; None when none is open."""
    if record.intent is None:
        return None
    if not isinstance(observation, Answered):
        return Attempted(number=record.intent.number, result="unknown", evidence=_CRASHED)
    result = RESULTS.get(type(observation), "done")
    return Attempted(number=record.intent.number, result=result, evidence=observation.evidence)
