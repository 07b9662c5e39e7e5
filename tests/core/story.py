"""A story: one record with its steps, using the builders and invariants of `verification/`."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.core.assure_types import DossierReading, ListedProcess, ProcessReading, Status
from agent.core.audit import Audited, replay
from agent.core.effect import (
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    Effect,
    EffectKind,
    ReadDossier,
    ReadProcess,
    StartCapture,
    StartVerification,
    UploadImages,
    VerifyImages,
)
from agent.core.machine import admit, step
from agent.core.observations import (
    CaptureStarted,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    EffectUnanswered,
    ImagesCompared,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    Resumed,
    TargetMissing,
    TimerFired,
    VerificationStarted,
)
from agent.core.policy import Policy
from agent.core.record import Desired, Phase, Record
from agent.core.step import Step
from verification.assure_model import LOST_CONNECTION, REFUSED, AssureModel
from verification.builders.records import (
    BACK,
    DUTCH_PASSPORT,
    FRONT,
    NOW,
    POLICY,
    capture,
    digested,
    edits,
    listed,
    observation_from_source,
    sealed,
    unadmitted,
    upload,
)
from verification.choices import RandomChoices, seeds
from verification.step_invariants import check_reads, check_step


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One step of a story: its input and its result."""

    at: float
    observation: Observation | None  # None: the admission
    policy: Policy
    requested: bool  # False: the step was asked for no effect
    step: Step


@dataclass
class Story:
    """One record and its steps. Every step is checked against the invariants of all steps."""

    desired: Desired
    policy: Policy = POLICY
    now: float = NOW
    record: Record = field(init=False)
    effect: Effect | None = field(init=False, default=None)
    step: Step = field(init=False)
    steps: list[Step] = field(init=False, default_factory=list)
    entries: list[Entry] = field(init=False, default_factory=list)
    prologue: int = field(init=False, default=0)  # entries that a transcript only names
    asked: list[tuple[float, Effect]] = field(init=False, default_factory=list)
    orphans: list[str] = field(init=False, default_factory=list)
    history: Audited = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._take(None, admit(unadmitted(self.desired), self.now, self.policy))

    def sees(self, observation: type[Observation], *, ask: bool = True, **fields: Any) -> Effect | None:
        """Apply an observation at the current time. Returns the requested effect."""
        seen = observation(at=self.now, **fields)
        self._take(seen, step(self.record, seen, self.policy, request_effect=ask), ask)
        return self.effect

    def later(self, seconds: float) -> "Story":
        """Advance the time."""
        self.now += seconds
        return self

    def wakes(self) -> Effect | None:
        """Advance the time until the record is due, and deliver a timer."""
        assert self.record.due_at is not None, "the record is never due"
        self.now = max(self.now, self.record.due_at)
        return self.sees(TimerFired)

    def unanswered(self, kind: EffectKind) -> Effect | None:
        """Deliver a lost answer."""
        return self.sees(EffectUnanswered, kind=kind, evidence=LOST_CONNECTION)

    def reads(self, status: Status, **fields: Any) -> Effect | None:
        """Deliver an answer to GET process."""
        process_id = self.record.process_id or "P1"
        return self.sees(ProcessRead, reading=ProcessReading(process_id=process_id, status=status, **fields))

    def reads_dossier(self, *processes: ListedProcess) -> Effect | None:
        """Deliver an answer to GET dossier."""
        reading = DossierReading(dossier_id=self.record.dossier_id or "D1", reference=None, processes=processes)
        return self.sees(DossierRead, reading=reading)

    def kinds(self) -> list[EffectKind]:
        """Every requested effect, in order."""
        return [effect.kind for _, effect in self.asked]

    def count(self, kind: EffectKind) -> int:
        """The number of requests for this effect."""
        return self.kinds().count(kind)

    def _take(self, observation: Observation | None, taken: Step, requested: bool = True) -> None:
        self.history = replay([self.history, *(event.changes for event in taken.events)])
        check_step(taken, self.history)
        self.step, self.record, self.effect = taken, taken.record, taken.effect
        self.steps.append(taken)
        self.entries.append(
            Entry(at=self.now, observation=observation, policy=self.policy, requested=requested, step=taken)
        )
        if taken.effect is not None:
            self.asked.append((self.now, taken.effect))
            check_reads(self.asked, self.policy)
        if taken.orphan is not None:
            self.orphans.append(taken.orphan)


UNKNOWNS = [pytest.param("unanswered", id="no answer"), pytest.param("resumed", id="the agent crashed")]


def doubted(story: Story, how: str) -> None:
    """Make the answer to the open intent unknown: no answer came, or the agent crashed before it came."""
    assert story.record.intent is not None
    if how == "resumed":
        story.sees(Resumed)
    else:
        story.unanswered(story.record.intent.kind)


# -- stories up to a point ---------------------------------------------------------------------------------------------


def at_create(desired: Desired | None = None, **fields: Any) -> Story:
    """The create call of the dossier is requested."""
    story = Story(desired or upload(), **fields)
    if isinstance(story.wakes(), VerifyImages):
        story.sees(ImagesVerified)
    assert isinstance(story.effect, CreateDossier)
    story.prologue = len(story.entries)
    return story


def at_process(desired: Desired | None = None, **fields: Any) -> Story:
    """The create call of the process, or the start of the capture flow, is requested."""
    story = at_create(desired, **fields)
    story.sees(DossierCreated, dossier_id="D1")
    assert isinstance(story.effect, CreateProcess | StartCapture)
    story.prologue = len(story.entries)
    return story


def at_images(desired: Desired | None = None, **fields: Any) -> Story:
    """The upload is requested."""
    story = at_process(desired, **fields)
    story.sees(ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=None)
    assert isinstance(story.effect, UploadImages)
    story.prologue = len(story.entries)
    return story


def at_read_before_start(desired: Desired | None = None, **fields: Any) -> Story:
    """The read before the start is requested, because the images were read back after the upload."""
    story = at_images(replace(desired or upload(), read_back=True), **fields)
    story.sees(ImagesUploaded)
    story.sees(ImagesCompared, differing=())
    assert isinstance(story.effect, ReadProcess)
    story.prologue = len(story.entries)
    return story


def at_start(desired: Desired | None = None, **fields: Any) -> Story:
    """The start is requested: an open, billable intent."""
    story = at_images(desired, **fields)
    story.sees(ImagesUploaded)
    assert isinstance(story.effect, StartVerification)
    story.prologue = len(story.entries)
    return story


def at_result(desired: Desired | None = None, **fields: Any) -> Story:
    """The request waits for its result, for an upload or a capture."""
    if desired is not None and desired.capture is not None:
        story = at_process(desired, **fields)
        story.sees(CaptureStarted, link="https://capture.example/secret")
    else:
        story = at_start(desired, **fields)
        story.sees(VerificationStarted, status=Status.PROCESSING)
    assert story.record.phase is Phase.RESULT
    story.prologue = len(story.entries)
    return story


def at_deletion(desired: Desired | None = None, **fields: Any) -> Story:
    """The deletion is requested after acceptance. With retention, it is scheduled."""
    story = at_result(desired, **fields)
    story.wakes()
    story.reads(Status.ACCEPTED)
    assert story.record.phase is Phase.DELETION
    return story


def at_done(desired: Desired | None = None, **fields: Any) -> Story:
    """The request is done after acceptance."""
    story = at_deletion(desired, **fields)
    deletes(story)
    assert story.record.phase is Phase.DONE
    story.prologue = len(story.entries)
    return story


def deletes(story: Story) -> None:
    """The dossier is deleted, and a read confirms it."""
    while not isinstance(story.effect, DeleteDossier):
        story.wakes()
    story.sees(DossierDeleted)
    assert isinstance(story.effect, ReadDossier)
    story.sees(TargetMissing, kind=EffectKind.READ_DOSSIER)


__all__ = [
    "BACK",
    "DUTCH_PASSPORT",
    "FRONT",
    "LOST_CONNECTION",
    "NOW",
    "POLICY",
    "REFUSED",
    "AssureModel",
    "RandomChoices",
    "Story",
    "capture",
    "check_reads",
    "check_step",
    "digested",
    "edits",
    "listed",
    "observation_from_source",
    "sealed",
    "seeds",
    "unadmitted",
    "upload",
]
