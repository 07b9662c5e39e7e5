"""The state machine: general properties, and observations outside its table (design §4, §5)."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from story import (
    LOST_CONNECTION,
    NOW,
    POLICY,
    Story,
    at_create,
    at_deletion,
    at_images,
    at_process,
    at_read_before_start,
    at_result,
    at_start,
    capture,
    listed,
    upload,
)

import agent.core
from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import (
    DeleteDossier,
    EffectKind,
    StartVerification,
)
from agent.core.errors import Impossible
from agent.core.machine import TABLE, TERMINATIONS, Row, step
from agent.core.observations import (
    Answered,
    CaptureStarted,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    HistoryLost,
    ImagesCompared,
    ImagesUploaded,
    ImagesVerified,
    ProcessCreated,
    ProcessRead,
    Resumed,
    TargetMissing,
    TimerFired,
    VerificationStarted,
)
from agent.core.record import Outcome, Phase

SURPRISING = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")


# -- general properties ------------------------------------------------------------------------------------------------


def test_the_capture_link_is_in_the_step_but_not_in_record_or_events() -> None:
    """[I6]"""
    story = at_process(capture())
    story.sees(CaptureStarted, link="https://capture.example/secret")
    assert story.step.link == "https://capture.example/secret"
    assert "secret" not in repr(story.record)
    assert "secret" not in repr(story.step.events)


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_each_final_status_is_an_outcome(status: Status) -> None:
    story = at_result()
    story.wakes()
    story.reads(status)
    assert story.record.outcome == Outcome(status.value)
    assert isinstance(story.effect, DeleteDossier)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_a_process_that_is_not_pending_is_never_started(status: Status) -> None:
    """[I2]"""
    story = at_read_before_start()
    story.reads(status)
    assert story.record.billed
    assert story.count(EffectKind.START_VERIFICATION) == 0


def test_a_step_is_deterministic() -> None:
    story = at_images()
    seen = EffectUnanswered(at=story.now, jitter=0.3, kind=EffectKind.UPLOAD_IMAGES, evidence=LOST_CONNECTION)
    assert step(story.record, seen, POLICY) == step(story.record, seen, POLICY)


# -- distance between reads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_reads_of_one_process_keep_the_shortest_interval(chance: float) -> None:
    """Deliver every kind of answer to a read in turn. The story checks each read."""
    answers = [
        {"observation": EffectUnanswered, "kind": EffectKind.READ_PROCESS, "evidence": LOST_CONNECTION},
        {"observation": EffectUnanswered, "kind": EffectKind.READ_PROCESS, "evidence": SURPRISING},
        {"observation": EffectRefused, "kind": EffectKind.READ_PROCESS, "evidence": Evidence(status=400)},
        {"observation": EffectDelayed, "kind": EffectKind.READ_PROCESS, "retry_after": 0.0},
        {"observation": TargetMissing, "kind": EffectKind.READ_PROCESS},
        {"observation": ProcessRead, "reading": ProcessReading(process_id="P1", status=Status.PROCESSING)},
    ]
    for at in (at_read_before_start, at_result):
        story = at()
        for answer in answers * 2:
            if story.effect is None:
                story.wakes()
            story.sees(jitter=chance, **answer)  # type: ignore[arg-type]


# -- observations outside the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "observation"),
    [
        (at_create(), DossierCreated(at=NOW, dossier_id="D1")),
        (at_process(), ProcessCreated(at=NOW, process_id="P1", status=Status.PENDING, document_pages=1)),
        (at_images(), ImagesUploaded(at=NOW)),
        (at_start(), VerificationStarted(at=NOW, status=Status.PROCESSING)),
        (at_deletion(), DossierDeleted(at=NOW)),
    ],
)
def test_an_answer_without_its_intent_raises_impossible(story: Story, observation: object) -> None:
    answered = replace(story.record, intent=None)
    before = repr(answered)
    with pytest.raises(Impossible):
        step(answered, observation, POLICY)  # type: ignore[arg-type]
    assert repr(answered) == before


@pytest.mark.parametrize("phase", list(Phase))
def test_an_observation_outside_the_table_raises_impossible(phase: Phase) -> None:
    record = replace(at_deletion().record, phase=phase, intent=None)
    reading = ProcessReading(process_id="P1", status=Status.PENDING)
    known = {row.__name__ for row in TABLE[phase]}
    for observation in (
        ProcessRead(at=NOW, reading=reading),
        DossierSearched(at=NOW, dossier_id="D1", complete=True),
        ImagesCompared(at=NOW),
        ImagesVerified(at=NOW),
        Resumed(at=NOW),
    ):
        if type(observation).__name__ not in known:
            with pytest.raises(Impossible):
                step(record, observation, POLICY)


def test_a_timer_during_an_open_intent_raises_impossible() -> None:
    """Only its answer or `Resumed` applies to a record with an open intent."""
    with pytest.raises(Impossible):
        at_images().sees(TimerFired)


def test_a_search_without_a_doubt_raises_impossible() -> None:
    """An observation outside the table is a bug of the agent (design §5)."""
    story = Story(upload())
    with pytest.raises(Impossible):
        story.sees(DossierSearched, dossier_id=None, complete=True)


def test_a_read_of_one_process_allows_no_start_after_an_unanswered_create() -> None:
    """After an unanswered create, the read before the start is GET dossier (design §5). [I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(ImagesUploaded)
    try:
        story.reads(Status.PENDING)
    except Impossible:
        return
    assert not isinstance(story.effect, StartVerification)


def test_every_phase_has_rows_and_terminations() -> None:
    assert list(TABLE) == list(Phase)
    assert list(TERMINATIONS) == list(Phase)


def test_only_the_operator_or_a_recovery_continues_a_done_request() -> None:
    assert set(TABLE[Phase.DONE]) >= {TimerFired, DocumentChanged, DocumentReturned, DocumentRemoved}
    assert not any(issubclass(kind, Answered) for kind in TABLE[Phase.DONE])
    leaving = {kind for kind, row in TABLE[Phase.DONE].items() if row.to}
    assert leaving == {HistoryLost}  # a restored store, which may be behind
    assert DossierRead not in TABLE[Phase.DONE]


def test_a_rule_that_leaves_its_row_raises_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(lambda record, _, __: replace(record, phase=Phase.RESULT))
    monkeypatch.setitem(TABLE[Phase.DOSSIER], TimerFired, row)
    with pytest.raises(Impossible, match="TABLE"):
        Story(upload()).sees(TimerFired)


def test_the_core_has_no_assert_statement() -> None:
    for path in Path(agent.core.__file__).parent.rglob("*.py"):
        asserts = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
        assert not asserts, f"{path}: raise Impossible in lines {asserts}"
