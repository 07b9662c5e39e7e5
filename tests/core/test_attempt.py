"""What the log says of an answer: its class and Assure's trace id, of a read as well."""

import pytest
from story import NOW

from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.attempt import heard
from agent.core.effect import EffectKind
from agent.core.observations import CameDue, ImagesVerified, Observation, ProcessRead, TargetMissing

READ = ProcessRead(at=NOW, reading=ProcessReading(process_id="P1", status=Status.ACCEPTED))
GONE = TargetMissing(at=NOW, kind=EffectKind.READ_DOSSIER, evidence=Evidence(status=404, trace_id="t1"))


@pytest.mark.parametrize(
    ("observation", "said"),
    [(READ, ("done", "")), (GONE, ("refused", "t1")), (ImagesVerified(at=NOW), None), (CameDue(at=NOW), None)],
)
def test_an_answer_of_assure_is_told_and_nothing_else_is(observation: Observation, said: object) -> None:
    assert heard(observation) == said
