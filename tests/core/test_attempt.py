"""The class of an answer: on the observation, in the attempt, in the event and in the log."""

import pytest
from story import LOST_CONNECTION, NOW, POLICY, at_create, upload

from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.attempt import call_result
from agent.core.effect import EffectKind
from agent.core.machine import step
from agent.core.observations import (
    DossierCreated,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesVerified,
    Observation,
    ProcessRead,
    Resumed,
    TargetMissing,
    TimerFired,
    answered_effect,
)

READ = ProcessRead(at=NOW, reading=ProcessReading(process_id="P1", status=Status.ACCEPTED))
GONE = TargetMissing(at=NOW, kind=EffectKind.READ_DOSSIER, evidence=Evidence(status=404, trace_id="t1"))


@pytest.mark.parametrize(
    ("observation", "said"),
    [(READ, ("done", "")), (GONE, ("refused", "t1")), (ImagesVerified(at=NOW), None), (TimerFired(at=NOW), None)],
)
def test_only_answers_to_calls_have_a_class_and_trace_id(observation: Observation, said: object) -> None:
    assert call_result(observation, answered_effect(observation)) == said


_CREATE = EffectKind.CREATE_DOSSIER


@pytest.mark.parametrize(
    ("observation", "result"),
    [
        (DossierCreated(at=NOW, dossier_id="D1"), "done"),
        (EffectRefused(at=NOW, kind=_CREATE), "refused"),
        (EffectDelayed(at=NOW, kind=_CREATE), "busy"),
        (EffectUnanswered(at=NOW, kind=_CREATE, evidence=LOST_CONNECTION), "unknown"),
        (Resumed(at=NOW), "unknown"),
    ],
)
def test_event_and_attempt_store_the_same_class(observation: Observation, result: str) -> None:
    """[I4] [I5] `audit verify` compares the two."""
    taken = step(at_create(upload()).record, observation, POLICY)
    assert taken.answered is not None
    assert taken.answered.result == result
    assert taken.events[-1].changes["answer"] == result


def test_an_event_without_an_intent_has_no_class() -> None:
    taken = step(at_create(upload()).record, EffectDelayed(at=NOW, kind=_CREATE), POLICY)
    assert "answer" not in step(taken.record, TimerFired(at=NOW + 3600), POLICY).events[-1].changes
