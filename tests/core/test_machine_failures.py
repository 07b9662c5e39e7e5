"""Failed calls: deletions, 404, holds, unexpected answers and delays (design §4, §5)."""

import pytest
from story import (
    NOW,
    POLICY,
    UNKNOWNS,
    at_create,
    at_deletion,
    at_images,
    at_process,
    at_result,
    at_start,
    doubted,
)

from agent.core.answer import Evidence
from agent.core.assure_types import Status
from agent.core.effect import (
    DeleteDossier,
    EffectKind,
    ReadDossier,
)
from agent.core.observations import (
    DossierDeleted,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    TargetMissing,
)
from agent.core.record import HoldReason, Phase

DAY = 86400.0
SURPRISING = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")

# -- deletion ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unknown_deletion_is_repeated_and_then_confirmed(how: str) -> None:
    story = at_deletion()
    doubted(story, how)
    assert isinstance(story.wakes(), DeleteDossier)
    story.sees(DossierDeleted)
    assert isinstance(story.effect, ReadDossier)


def test_a_refused_deletion_is_repeated_and_never_held() -> None:
    story = at_deletion()
    for _ in range(50):
        story.sees(EffectRefused, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=403))
        assert story.record.hold is None
        assert isinstance(story.wakes(), DeleteDossier)


def test_unexpected_answers_to_a_deletion_are_never_held() -> None:
    story = at_deletion()
    story.sees(DossierDeleted)
    for _ in range(10):
        story.sees(EffectUnanswered, kind=EffectKind.READ_DOSSIER, evidence=SURPRISING)
        assert isinstance(story.wakes(), ReadDossier)


# -- 404 elsewhere -----------------------------------------------------------------------------------------------------


def test_a_success_between_two_404_restarts_the_count() -> None:
    story = at_result()
    for _ in range(20):
        story.wakes()
        story.sees(TargetMissing, kind=EffectKind.READ_PROCESS)
        story.wakes()
        story.reads(Status.PROCESSING)
    assert story.record.phase is Phase.RESULT


# -- holds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [at_create, at_process, at_images, at_start])
def test_a_refused_effect_is_held_and_not_repeated(at: object) -> None:
    story = at()  # type: ignore[operator]
    story.sees(EffectRefused, kind=story.effect.kind, evidence=Evidence(status=400))
    assert story.effect is None
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.REFUSED
    assert story.record.due_at == NOW + DAY  # only the deadline


def test_server_errors_are_repeated_without_a_hold() -> None:
    story = at_result()
    for _ in range(50):
        story.wakes()
        story.sees(EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=503))
    assert story.record.hold is None


@pytest.mark.parametrize("kind", [EffectKind.CREATE_DOSSIER, EffectKind.CREATE_PROCESS, EffectKind.UPLOAD_IMAGES])
def test_a_delayed_effect_is_repeated_after_retry_after(kind: EffectKind) -> None:
    """Assure answers 429 or 401."""
    at = {
        EffectKind.CREATE_DOSSIER: at_create,
        EffectKind.CREATE_PROCESS: at_process,
        EffectKind.UPLOAD_IMAGES: at_images,
    }
    story = at[kind]()
    story.sees(EffectDelayed, kind=kind, retry_after=17.0)
    assert story.effect is None
    asked = story.wakes()
    assert asked is not None
    assert asked.kind is kind
    assert story.now - NOW == 17.0


def test_delays_grow_up_to_the_maximum() -> None:
    story = at_result()
    waits = []
    for _ in range(12):
        story.wakes()
        story.sees(EffectDelayed, kind=EffectKind.READ_PROCESS)
        assert story.record.due_at is not None
        waits.append(story.record.due_at - story.now)
    assert waits == sorted(waits)
    assert waits[0] >= POLICY.min_read_interval
    assert waits[-1] <= POLICY.backoff_cap
