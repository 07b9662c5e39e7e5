"""Removal of the request file in each phase (design §4)."""

import pytest
from story import (
    at_images,
    at_process,
    at_start,
)

from agent.core.effect import (
    DeleteDossier,
)
from agent.core.errors import Impossible
from agent.core.observations import DocumentRemoved, EffectDelayed
from agent.core.record import Outcome

# -- removal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [at_process, at_images, at_start])
def test_a_file_removed_before_the_outcome_is_withdrawn_and_its_dossier_deleted(at: object) -> None:
    story = at()  # type: ignore[operator]
    story.sees(EffectDelayed, kind=story.effect.kind)
    story.sees(DocumentRemoved)
    assert story.record.outcome is Outcome.WITHDRAWN
    assert isinstance(story.effect, DeleteDossier)


def test_a_removal_during_an_open_intent_raises_impossible() -> None:
    """[I3]"""
    story = at_process()
    with pytest.raises(Impossible):
        story.sees(DocumentRemoved)
