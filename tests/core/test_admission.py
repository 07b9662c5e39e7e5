"""The decision about a document from its record."""

from dataclasses import replace

import pytest
from story import at_done, upload

from agent.core.admission import DocumentVerdict, judge
from agent.core.observations import DocumentChanged, HoldResolved
from agent.core.record import HoldAnswer, Record


def held() -> Record:
    """A done request whose file changed afterwards: held."""
    story = at_done(upload("one"))
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.hold is not None
    return story.record


def declined() -> Record:
    """The same, after the operator declined the document."""
    story = at_done(upload("one"))
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.hold is not None
    story.sees(HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.ABANDON)
    assert (story.record.hold, story.record.declined) == (None, upload("two").essence)
    return story.record


HELD_OR_DECLINED = pytest.mark.parametrize("record", [held(), declined()], ids=["held", "declined"])


def verdict(record: Record, rerun: str | None, digest: str = "edited") -> DocumentVerdict:
    return judge(record, digest, upload("two").essence, record.desired.file, rerun)


@HELD_OR_DECLINED
def test_a_declined_or_held_document_is_unchanged_without_a_new_token(record: Record) -> None:
    """[I2] One that was obeyed asks for nothing."""
    assert verdict(record, None) is DocumentVerdict.UNCHANGED
    assert verdict(record, "t1") is DocumentVerdict.CHANGED
    assert verdict(replace(record, reruns=("t1",)), "t1") is DocumentVerdict.UNCHANGED


@HELD_OR_DECLINED
def test_a_document_of_a_rerun_is_followed_until_it_changes_again(record: Record) -> None:
    """[I2] Its token counts as obeyed only when it begins; one that is taken back before begins nothing."""
    begun = replace(
        record, hold=None, next=replace(upload("two", rerun="t1"), digest="edited", file=record.desired.file)
    )
    assert verdict(begun, "t1") is DocumentVerdict.UNCHANGED
    assert verdict(begun, None, digest="taken back") is DocumentVerdict.CHANGED


@HELD_OR_DECLINED
def test_a_document_that_returned_after_billing_is_held_once(record: Record) -> None:
    """A command may have started a generation with its own token, so the token in the file never counted."""
    same = replace(record, desired=replace(record.desired, essence=upload("two").essence))
    assert verdict(same, "t1", digest=same.desired.digest) is DocumentVerdict.UNCHANGED
