"""The notices of a step for the web application."""

from agent.core.effect import EffectKind
from agent.core.machine import admit, step
from agent.core.notifications import Notice, NoticeType
from agent.core.observations import DocumentChanged, DocumentRemoved, EffectRefused, EffectUnanswered, HistoryLost
from agent.core.policy import Policy
from agent.core.record import Phase, Record
from verification.builders.lives import LINK, Life
from verification.builders.records import capture, upload


def sent(life: Life) -> list[Notice]:
    return [notice for step in life.steps for notice in step.notifications]


def types(life: Life) -> list[str]:
    return [notice.type.value for notice in sent(life)]


def test_a_capture_sends_capture_ready_then_settled_then_deleted() -> None:
    life = Life(desired=capture()).until(Phase.DONE)
    assert types(life) == ["capture.ready", "settled", "deleted"]
    assert sent(life)[1].outcome == "accepted"
    assert LINK not in repr(sent(life)), "the link is never sent [I6]"


def test_an_upload_sends_settled_before_deleted() -> None:
    life = Life(desired=upload()).until(Phase.DELETION)
    assert types(life) == ["settled"]
    assert types(life.until(Phase.DONE)) == ["settled", "deleted"]


def test_a_hold_is_sent_once_with_its_reason_and_id() -> None:
    life = Life(desired=upload()).until(Phase.IMAGES)
    life.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES)
    assert life.record.hold is not None
    (notice,) = sent(life)
    assert (notice.type, notice.reason, notice.hold_id) == (NoticeType.HELD, "refused-by-assure", life.record.hold.id)


def test_a_request_without_a_dossier_sends_settled_and_no_deleted() -> None:
    life = Life(desired=upload(suspend=True))
    life.sees(DocumentRemoved)
    assert [(notice.type, notice.outcome) for notice in sent(life)] == [("settled", "withdrawn")]


def test_another_attempt_sends_no_notice() -> None:
    """No end user had the lost link, so its deletion sends no notice."""
    life = Life(desired=capture()).until(Phase.PROCESS)
    life.sees(EffectUnanswered, kind=EffectKind.START_CAPTURE)
    while life.record.attempt == 1:
        life.goes_on()
    assert types(life) == []
    assert types(life.until(Phase.DONE)) == ["capture.ready", "settled", "deleted"]


def test_a_new_generation_sends_deleted_for_the_previous_one() -> None:
    life = Life(desired=upload(read_back=True)).until(Phase.IMAGES)
    other = upload(digest="d2", essence="e2")
    life.goes_on()
    life.sees(DocumentChanged, desired=other)
    while life.record.generation == 1:
        life.goes_on()
    assert [(notice.type, notice.generation) for notice in sent(life)] == [("deleted", 1)]


def test_a_hold_with_new_evidence_is_sent_once() -> None:
    """After the loss of a store, the agent once printed, logged and sent every hold twice."""
    record = Record(uid="u1", name="a", source="default", agent="a1", desired=upload())
    policy = Policy(recovering=True)
    first = admit(record, 1.0, policy)
    second = step(first.record, HistoryLost(at=2.0), policy)
    assert first.record.hold is not None
    assert second.record.hold is not None
    assert (second.changed, second.record.hold.id) == (True, first.record.hold.id)
    assert [taken.held is not None for taken in (first, second)] == [True, False]
    assert [notice.type for taken in (first, second) for notice in taken.notifications] == [NoticeType.HELD]
