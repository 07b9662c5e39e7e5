"""The plan: the meaning of a difference between two records for the operator."""

from dataclasses import replace

import pytest

from agent.core.assure_types import CaptureOptions, ProcessType
from agent.core.effect import EffectKind
from agent.core.machine import admit, step
from agent.core.observations import DocumentChanged, DocumentRemoved, DocumentReturned, HoldResolved
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldAnswer, HoldReason, Intent, Outcome, Phase, Record
from agent.views.plan import (
    Action,
    after_restart,
    describe_progress,
    if_changed,
    if_removed,
    planned_action,
    remaining_starts,
)

POLICY = Policy()
DESIRED = Desired(
    digest="d1",
    essence="e1",
    process_type=ProcessType.DOCUMENT,
    capture=CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/done"),
    file="a.yaml",
)


def fresh(**more: object) -> Record:
    record = Record(uid="u", name="a", source="default", agent="tests", desired=DESIRED)
    return replace(admit(record, 0.0, POLICY).record, **more)  # type: ignore[arg-type]


BILLED = {"phase": Phase.RESULT, "dossier_id": "d", "billed": True, "opened_at": 0.0}
ENDED = {"outcome": Outcome.ACCEPTED, "outcome_at": 1.0}
FINISHED = {**BILLED, **ENDED, "phase": Phase.DONE, "due_at": None}


def planned(record: Record, **desired: object) -> tuple[Action, str]:
    """The planned consequence of a document that differs in these fields."""
    seen = DocumentChanged(at=10.0, desired=replace(DESIRED, digest="d2", **desired))  # type: ignore[arg-type]
    return planned_action(record, step(record, seen, POLICY, request_effect=False).record)


def test_a_new_name_is_planned_as_a_new_request() -> None:
    assert planned_action(None, fresh()) == (Action.CREATE, "new")


def test_a_change_before_billing_starts_the_next_generation() -> None:
    action, why = planned(fresh(), essence="e2")
    assert (action, why) == (Action.RERUN, "changed before a billed start: it starts over")


def test_the_plan_of_a_resolved_change_names_the_second_billing() -> None:
    held = step(fresh(**FINISHED), DocumentChanged(at=9.0, desired=replace(DESIRED, digest="d2", essence="e2")), POLICY)
    assert held.record.hold is not None
    wanted, asked = replace(DESIRED, digest="d2", essence="e2"), held.record.hold.id
    answer = HoldResolved(at=10.0, hold_id=asked, answer=HoldAnswer.RETRY, desired=wanted)
    action, why = planned_action(held.record, step(held.record, answer, POLICY, request_effect=False).record)
    assert (action, "billed again" in why) == (Action.RERUN, True)


def test_the_plan_of_a_change_names_the_deletion_of_the_old_dossier() -> None:
    _, why = planned(fresh(phase=Phase.PROCESS, dossier_id="d", opened_at=0.0), essence="e2")
    assert why.endswith("the old dossier is deleted first")


def test_a_new_rerun_token_starts_a_finished_request_again() -> None:
    action, why = planned(fresh(**FINISHED), rerun="again")
    assert (action, "rerun token" in why) == (Action.RERUN, True)


@pytest.mark.parametrize("state", [BILLED, FINISHED], ids=["billed", "finished"])
def test_a_change_after_the_billable_act_is_planned_as_a_hold(state: dict[str, object]) -> None:
    assert planned(fresh(**state), essence="e2")[0] is Action.HOLD


def test_labels_and_retention_change_in_place_and_are_named() -> None:
    action, why = planned(fresh(**BILLED), labels=(("team", "b"),), retention=60.0)
    assert (action, why) == (Action.CHANGE, "labels and retention changed: applied in place, no new start")


def test_an_annotation_alone_changes_in_place() -> None:
    assert planned(fresh())[1].startswith("annotations changed")


def test_a_removed_file_is_withdrawn_only_before_the_outcome() -> None:
    seen = DocumentRemoved(at=10.0)
    for record, action in ((fresh(), Action.WITHDRAW), (fresh(**FINISHED), Action.NOTHING)):
        assert planned_action(record, step(record, seen, POLICY, request_effect=False).record)[0] is action
    resting = fresh(
        **BILLED | {"phase": Phase.DELETION, "outcome": Outcome.ACCEPTED, "outcome_at": 1.0, "delete_at": 99.0}
    )
    action, why = planned_action(resting, step(resting, seen, POLICY, request_effect=False).record)
    assert (action, "deleted at once" in why) == (Action.CHANGE, True)


def test_a_billed_request_that_is_back_is_planned_as_a_hold() -> None:
    away = fresh(**FINISHED | {"outcome": Outcome.WITHDRAWN, "present": False})
    after = step(away, DocumentReturned(at=10.0, desired=DESIRED), POLICY, request_effect=False).record
    assert planned_action(away, after)[0] is Action.HOLD


def test_a_moved_document_has_no_plan() -> None:
    record = fresh()
    after = step(
        record, DocumentReturned(at=1.0, desired=replace(DESIRED, file="b.yaml")), POLICY, request_effect=False
    ).record
    assert planned_action(record, after)[0] is Action.NOTHING


def test_an_open_effect_counts_as_unanswered() -> None:
    record = fresh(intent=Intent(kind=EffectKind.CREATE_DOSSIER, number=1, at=0.0), intents=1, opened_at=0.0)
    assert after_restart(record, 5.0, POLICY).doubt is EffectKind.CREATE_DOSSIER
    assert if_removed(record, 5.0, POLICY)[0] is Action.WITHDRAW
    assert if_changed(record, 5.0, POLICY)[0] is Action.RERUN


def test_future_starts_are_counted_once_and_not_while_held() -> None:
    held = Hold(id="h-1", reason=HoldReason.REFUSED, at=0.0)
    assert remaining_starts(fresh()) == 1
    assert remaining_starts(fresh(**BILLED)) == 0
    assert remaining_starts(fresh(**FINISHED)) == 0
    assert remaining_starts(fresh(hold=held)) == 0
    assert remaining_starts(fresh(desired=replace(DESIRED, suspend=True))) == 0
    assert remaining_starts(fresh(**BILLED | {"phase": Phase.DELETION, "next": DESIRED})) == 1


def test_the_state_is_described_briefly() -> None:
    assert describe_progress(fresh()) == "in phase dossier"
    assert describe_progress(fresh(**FINISHED)) == "done, accepted"
    assert describe_progress(fresh(desired=replace(DESIRED, suspend=True))) == "suspended"
    assert (
        describe_progress(fresh(hold=Hold(id="h-1", reason=HoldReason.REFUSED, at=0.0)))
        == "held, refused-by-assure (h-1)"
    )
