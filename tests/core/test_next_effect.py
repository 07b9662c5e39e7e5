"""The next effect follows from the record alone: when it is due, and which effect (design §5, I1, I8)."""

from dataclasses import replace

import pytest
from story import (
    NOW,
    POLICY,
    Story,
    at_create,
    at_deletion,
    at_done,
    at_images,
    at_process,
    at_read_before_start,
    at_result,
    at_start,
    capture,
    upload,
)

from agent.core import next_effect as module
from agent.core.effect import Effect, EffectKind
from agent.core.next_effect import deletion_deadline, next_due_at, overdue
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Phase, Record

EVERYWHERE = [at_create, at_process, at_images, at_read_before_start, at_start, at_result, at_deletion]
BLOCKING = [reason for reason in HoldReason if reason.blocks]


def next_effect(record: Record, at: float, policy: Policy) -> Effect | None:
    return module.next_effect(record, at, next_due_at(record, at, policy), policy)


@pytest.mark.parametrize("at", EVERYWHERE)
def test_an_open_intent_is_due_at_once_and_has_no_next_effect(at: object) -> None:
    """After a crash the store selects the record, and the reconciler delivers `Resumed`. [I1, I4]"""
    record = at().record  # type: ignore[operator]
    if record.intent is not None:
        assert next_due_at(record, NOW + 1, POLICY) == record.intent.at
        assert next_effect(record, NOW + 1, POLICY) is None


@pytest.mark.parametrize("at", EVERYWHERE)
@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("reason", [None, *HoldReason])
def test_a_request_with_a_dossier_has_a_due_time(at: object, suspended: bool, reason: HoldReason | None) -> None:
    """The deadline applies during every hold. [I1]"""
    record = at().record  # type: ignore[operator]
    hold = None if reason is None else Hold(id="h-1", reason=reason, at=NOW)
    record = replace(record, intent=None, hold=hold, desired=replace(record.desired, suspend=suspended))
    assert next_due_at(record, NOW, POLICY) is not None


@pytest.mark.parametrize("reason", BLOCKING)
def test_a_blocking_hold_sends_no_call(reason: HoldReason) -> None:
    record = replace(at_images().record, intent=None, hold=Hold(id="h-1", reason=reason, at=NOW))
    effect = next_effect(record, NOW + 100, POLICY)
    assert effect is None or effect.kind in (EffectKind.VERIFY_IMAGES, EffectKind.READ_PROCESS)


def test_no_effect_is_requested_before_it_is_due() -> None:
    record = replace(at_images().record, intent=None, not_before=NOW + 10)
    assert next_effect(record, NOW + 9.9, POLICY) is None
    assert next_effect(record, NOW + 10, POLICY) is not None


def test_the_deadline_counts_from_the_first_create() -> None:
    story = Story(upload(deadline=60.0))
    assert deletion_deadline(story.record, POLICY) is None
    assert deletion_deadline(at_create(upload(deadline=60.0)).record, POLICY) == NOW + 60


def test_there_is_no_deadline_after_the_outcome() -> None:
    assert deletion_deadline(at_deletion().record, POLICY) is None
    assert not overdue(at_deletion().record, NOW + 1e9, POLICY)


def test_a_hold_about_the_document_does_not_shorten_the_deadline() -> None:
    hold = Hold(id="h-1", reason=HoldReason.CHANGED_AFTER_START, at=NOW)
    record = replace(at_result(upload(deadline=30 * 86400.0)).record, hold=hold)
    assert deletion_deadline(record, POLICY) == NOW + 30 * 86400


def test_no_start_is_requested_after_the_deadline() -> None:
    record = replace(at_start(upload(deadline=60.0)).record, intent=None)
    before, after = next_effect(record, NOW + 59, POLICY), next_effect(record, NOW + 60, POLICY)
    assert before is not None
    assert before.kind is EffectKind.START_VERIFICATION
    assert after is not None
    assert after.kind is EffectKind.READ_PROCESS


def test_a_done_request_has_no_next_effect() -> None:
    assert next_due_at(at_done().record, NOW + 1e9, POLICY) is None
    assert next_effect(at_done().record, NOW + 1e9, POLICY) is None


def test_every_phase_except_done_has_an_effect() -> None:
    """[I1]"""
    record = replace(at_deletion().record, intent=None, outcome=None, doubt=None)
    for phase in Phase:
        if phase is not Phase.DONE:
            assert next_effect(replace(record, phase=phase), NOW + 10, POLICY) is not None


def test_a_capture_without_a_chosen_process_reads_the_dossier() -> None:
    effect = next_effect(at_result(capture()).record, NOW + 10, POLICY)
    assert effect is not None
    assert effect.kind is EffectKind.READ_DOSSIER


@pytest.mark.parametrize(
    ("at", "priority"),
    [(at_create, 0), (at_images, 1), (at_result, 2), (at_deletion, 1)],
    ids=["create", "images", "result", "deletion"],
)
def test_new_requests_precede_deletions_and_deletions_precede_polls(at: object, priority: int) -> None:
    assert at().record.priority == priority  # type: ignore[operator]
