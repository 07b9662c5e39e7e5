"""Recovery: the store was lost or is an older copy."""

from dataclasses import replace

from story import NOW, POLICY, Story, at_done, capture, listed, upload

from agent.core import observations as o
from agent.core.assure_types import FoundDossier, ListedProcess, Status
from agent.core.record import Desired, HoldAnswer

_RECOVERING = replace(POLICY, recovering=True)


def nothing_at_assure() -> Story:
    """A request that is admitted during recovery is held. Without a dossier it starts after `retry`. [I1, I2]"""
    story = _searched(upload())
    _retry(story)
    story.sees(o.ImagesVerified)
    return story


def dossier_with_a_pending_process() -> Story:
    """The dossier is adopted with its generation and attempt, and read before anything is created in it. [I2, I3]"""
    story = _searched(upload(), _dossier(listed("P9"), generation=3, attempt=2))
    story.reads_dossier(listed("P9"))
    return story


def dossier_with_a_started_process() -> Story:
    """A started process is observed. [I2]"""
    story = _searched(upload(), _dossier(listed("P9", Status.PROCESSING)))
    story.reads_dossier(listed("P9", Status.PROCESSING))
    return story


def empty_dossier() -> Story:
    """An empty dossier proves nothing, so the request is held. After `retry` the dossier is used. [I2]"""
    story = _searched(upload(), _dossier(attempt=2))
    _retry(story)
    return story


def capture_with_a_process() -> Story:
    """A capture with a process is observed and gets no second link. [I2]"""
    story = _searched(capture(), _dossier(listed("P1")))
    story.reads_dossier(listed("P1"))
    return story


def capture_in_an_empty_dossier() -> Story:
    """The end user may have the link. After `retry` the agent deletes the dossier and its link. [I2]"""
    story = _searched(capture(), _dossier())
    _retry(story)
    return story


def later_generation_at_assure() -> Story:
    """A finished request adopts the dossier of a later generation. Without one it stays finished. [I2]"""
    story = at_done()
    story.sees(o.HistoryLost)
    story.sees(o.HistoryLost, found=(_dossier(listed("P2", Status.PROCESSING), generation=2),))
    return story


def _searched(desired: Desired, *found: FoundDossier) -> Story:
    story = Story(desired, policy=_RECOVERING)
    story.later(1).sees(o.HistoryLost, found=found)
    return story


def _dossier(*processes: ListedProcess, generation: int = 1, attempt: int = 1) -> FoundDossier:
    return FoundDossier(
        generation=generation, attempt=attempt, dossier_id="D9", processes=processes, opened_at=NOW - 60
    )


def _retry(story: Story) -> None:
    assert story.record.hold is not None
    story.policy = POLICY
    story.sees(o.HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
