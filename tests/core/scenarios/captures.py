"""Capture requests."""

from dataclasses import replace

from story import POLICY, Story, at_process, at_result, capture, deletes, listed

from agent.core import observations as o
from agent.core.assure_types import Status
from agent.core.effect import EffectKind


def accepted() -> Story:
    """A capture request starts one capture flow and uploads nothing. The process of the end user decides. [I4]"""
    story = at_result(capture())
    story.wakes()
    story.reads_dossier()
    story.wakes()
    story.reads_dossier(listed("P7", Status.PROCESSING))
    story.wakes()
    story.reads_dossier(listed("P7", Status.ACCEPTED))
    story.reads(Status.ACCEPTED)
    deletes(story)
    story.prologue = 0
    return story


def process_in_a_lagging_list() -> Story:
    """The list shows a process as final, but its own read does not. The agent chooses the process again."""
    story = at_result(capture())
    story.wakes()
    story.reads_dossier(listed("P7", Status.FAILED))
    story.reads(Status.PROCESSING)
    story.wakes()
    return story


def start_delayed() -> Story:
    """Assure delays the start of the capture flow. The same dossier is used later."""
    story = at_process(capture())
    story.sees(o.EffectDelayed, kind=EffectKind.START_CAPTURE, retry_after=5.0)
    story.wakes()
    return story


def start_unanswered() -> Story:
    """The capture link is lost, so the dossier is deleted, and another attempt begins. [I2, I3]"""
    story = at_process(capture())
    story.unanswered(EffectKind.START_CAPTURE)
    deletes(story)
    return story


def result_available() -> Story:
    """A hint that the result is available starts a read at once. Only the read decides."""
    story = at_result(capture(), policy=replace(POLICY, poll_fallback=900.0))
    story.wakes()
    story.reads_dossier()
    story.later(5).sees(o.ResultAvailable)
    story.reads_dossier(listed("P7", Status.ACCEPTED))
    return story
