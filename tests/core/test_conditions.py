"""The conditions of a request, which programs read."""

from dataclasses import replace

import pytest

from agent.core.conditions import REASONS, conditions
from agent.core.effect import EffectKind
from agent.core.observations import EffectRefused
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from verification.builders.lives import Life
from verification.builders.records import capture, upload


def holds(record: Record) -> dict[str, bool]:
    return {condition.type: condition.holds for condition in conditions(record)}


def reasons(record: Record) -> dict[str, str]:
    return {condition.type: condition.reason for condition in conditions(record)}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
def test_a_request_in_progress_is_reconciling_with_its_phase(phase: Phase) -> None:
    record = Life(desired=upload()).until(phase).record
    assert holds(record) == {"Ready": False, "Reconciling": True, "Stalled": False}
    assert reasons(record)["Reconciling"] == f"{phase.value.capitalize()}Pending"


def test_a_done_request_is_ready_with_its_outcome() -> None:
    record = Life(desired=capture()).until(Phase.DONE).record
    assert holds(record) == {"Ready": True, "Reconciling": False, "Stalled": False}
    assert reasons(record) == {"Ready": "Accepted", "Reconciling": "Settled", "Stalled": "NotStalled"}


def test_a_held_request_is_stalled() -> None:
    life = Life(desired=upload()).until(Phase.IMAGES)
    life.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES)
    assert holds(life.record) == {"Ready": False, "Reconciling": False, "Stalled": True}
    assert reasons(life.record)["Stalled"] == "RefusedByAssure"


def test_a_hold_about_the_document_is_stalled_and_reconciling() -> None:
    record = Life(desired=upload()).until(Phase.RESULT).record
    held = replace(record, hold=Hold(id="h-1", reason=HoldReason.CHANGED_AFTER_START, at=1.0))
    assert holds(held) == {"Ready": False, "Reconciling": True, "Stalled": True}


def test_suspension_budget_and_retention_have_their_reasons() -> None:
    fresh = Life(desired=upload()).record
    suspended = replace(fresh, desired=replace(fresh.desired, suspend=True))
    assert (holds(suspended)["Stalled"], reasons(suspended)["Stalled"]) == (True, "Suspended")
    assert reasons(replace(fresh, queued=True))["Reconciling"] == "WaitingForBudget"
    kept = Life(desired=upload(retention=3600.0)).until(Phase.DELETION).record
    assert reasons(kept)["Reconciling"] == "InRetention"


def test_every_reason_is_listed() -> None:
    """[I6] The list is closed: hold reasons, outcomes and phases, and our own six words."""
    done = Life(desired=upload()).until(Phase.DONE).record
    for outcome in Outcome:
        assert reasons(replace(done, outcome=outcome))["Ready"] in REASONS
    for reason in HoldReason:
        held = replace(done, hold=Hold(id="h-1", reason=reason, at=1.0))
        assert reasons(held)["Stalled"] in REASONS
    for phase in Phase:
        assert set(reasons(Life(desired=upload()).until(phase).record).values()) <= REASONS
