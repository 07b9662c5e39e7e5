"""Image files that this replica does not find, although another replica may have them.

A folder of images may be copied to each replica at different times. Therefore a missing file delays a request at first.
It becomes invalid only once the replicas have searched often enough. A file with other bytes than those that were
admitted is invalid at once.
"""

from agent.core import observations as o
from agent.core.answer import NOT_HERE, CallResult, Evidence
from agent.ports import MissingImages

MISSING = "missing"  # the reason of an image that is not in the folder
PAUSE = 10.0  # seconds in which this replica does not claim the request, so that another one searches


async def judge_missing(store: MissingImages, uid: str, answer: o.Answered) -> o.Answered:
    """The answer as it is, or a delay if another replica may have the image that this one does not find."""
    if isinstance(answer, o.ImagesVerified | o.ImagesUploaded):
        await store.images_found(uid)
    if not isinstance(answer, o.ImagesInvalid) or answer.reason != MISSING:
        return answer
    if await store.images_missing(uid, answer.at):
        return answer
    evidence = Evidence(cause=NOT_HERE)
    return o.EffectDelayed(
        kind=answer.kind, at=answer.at, jitter=answer.jitter, evidence=evidence, result=CallResult.BUSY
    )


def is_not_here(answer: o.Observation) -> bool:
    """True for the delay of a request whose image this replica does not find."""
    return isinstance(answer, o.EffectDelayed) and answer.evidence.cause == NOT_HERE
