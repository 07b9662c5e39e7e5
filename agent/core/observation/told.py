"""What we are told unasked: by time, by people, by the source, and of our own folders."""

from dataclasses import dataclass
from enum import StrEnum

from agent.core.observation.base import Observation
from agent.core.record import Desired
from agent.core.remote import Depiction, Found

# -- time ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CameDue(Observation):
    """The time the record waited for has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Observation):
    """We ended, or lost the answer, between an intent and its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSighted(Observation):
    """A list, or somebody else, says that the verification came to its end. Only our own read decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconsidered(Observation):
    """What it waits for may have changed meanwhile: the budget, or its images. It looks again now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected(Observation):
    """The clock was wrong and was set right by `by` seconds. What it wrote after `since` is wrong as well.

    With a negative `by` every time after `at` is wrong, whoever wrote it.
    """

    by: float
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLost(Observation):
    """The store was lost, or is an older copy, so the record may be behind. `found` is what Assure shows of it."""

    found: tuple[Found, ...] = ()


# -- a person -----------------------------------------------------------------------------------------


class Answer(StrEnum):
    """What a person may say to a hold."""

    RETRY = "retry"  # go on, or verify the document that the question is about
    ABANDON = "abandon"  # give it up; the document that the question is about is left to a later rerun
    ADOPT = "adopt"  # use this dossier at Assure


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldResolved(Observation):
    """A person answered a hold. `desired` is the document in the source now, `dossier_id` the one to adopt."""

    hold_id: str
    answer: Answer
    desired: Desired | None = None
    dossier_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunAsked(Observation):
    """A person asked for a fresh verification of the document in the source."""

    desired: Desired
    name: str = ""  # see `DocumentChanged`


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalShown(Observation):
    """A person is about to be shown personal values that Assure has of it. Nothing follows; it is for the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsShown(PersonalShown):
    """A person is about to be shown the claims that are kept of it."""


# -- what is kept, and what is not any more ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsErased(Observation):
    """The claims of this generation can be read by nobody any more: their time was over, or the name was forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesDiscarded(Observation):
    """The image files of this generation were deleted here (IMAGES_AFTER_UPLOAD).

    `how` has a word for each depiction: deleted, missing; or why the file was left: changed, outside, unreadable.
    """

    how: tuple[tuple[Depiction, str], ...]


# -- the source ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChanged(Observation):
    """The file of this name holds another document than the one we follow.

    `name` is for a record whose own was forgotten: it can be asked for, and missed, by its name again.
    """

    desired: Desired
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReturned(Observation):
    """The file holds the document we follow, after it was removed or had held another one."""

    desired: Desired
    name: str = ""  # see `DocumentChanged`


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRemoved(Observation):
    """The name is in no file any more, confirmed."""
