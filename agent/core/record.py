"""The record: everything that the agent knows of one request, as a frozen value.

Times are seconds since the epoch, UTC. `None` is "not yet" or "not known". A record is one row of the store; `audit.py`
lists the fields that are audited.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agent.core.assure_types import CaptureOptions, Depiction, DocumentKey, ProcessType, Status, StatusReason
from agent.core.effect import EffectKind, ImageRef
from agent.core.reference import Reference

Mode = Literal["upload", "capture"]

_HASHED = "sha256:"


class Phase(StrEnum):
    """The step of a generation that is in progress. Only `done` is final."""

    DOSSIER = "dossier"  # creates a dossier at Assure
    PROCESS = "process"  # creates a process in it; for a capture request, starts the capture flow
    IMAGES = "images"  # uploads the images; upload requests only
    VERIFICATION = "verification"  # starts the verification, the billable act; upload requests only
    RESULT = "result"  # waits for a final status from Assure, or for the end user in the capture flow
    DELETION = "deletion"  # deletes the dossier and confirms that it is gone
    DONE = "done"  # finished; final for this generation


class Outcome(StrEnum):
    """How a generation ended; final. The road ends with the deletion of the dossier all the same."""

    ACCEPTED = "accepted"  # as Assure says
    REJECTED = "rejected"  # as Assure says
    INCONCLUSIVE = "inconclusive"  # as Assure says
    CANCELED = "canceled"  # as Assure says: the end user gave up in the capture flow
    FAILED = "failed"  # as Assure says: technical error
    EXPIRED = "expired"  # no final status before the deadline, or held for longer than HOLD_TTL
    WITHDRAWN = "withdrawn"  # the file was removed before the result
    LOST = "lost"  # dossier or process vanished at Assure, confirmed
    ABANDONED = "abandoned"  # the operator gave it up


class HoldReason(StrEnum):
    """The reason why a request waits for the operator. `blocks`: the request makes no progress meanwhile."""

    BACK_IMAGE_REQUIRED = "back-image-required"  # the document has two pages and there is no back image
    IMAGES_CHANGED = "images-changed"  # an image is not what was admitted; nothing more is created
    IMAGES_DIFFER = "images-differ"  # Assure returned another image than the one uploaded
    DOCUMENT_TYPE_GONE = "document-type-gone"  # the country and type no longer mean the document that was admitted
    REFUSED = "refused-by-assure"  # Assure refused a call in its own error shape
    UNEXPECTED_ANSWER = "unexpected-answer"  # Assure said something that the contract does not know, four times
    HISTORY_LOST = "history-lost"  # the store was lost or restored, and Assure does not show the state of this request
    CLAIMS_NOT_KEPT = "claims-not-kept"  # accepted, and its claims cannot be encrypted: no CLAIMS_KEY, or the disk
    CHANGED_AFTER_START = "changed-after-start"  # the file changed after the billable act; which one counts?
    REAPPEARED_AFTER_START = "reappeared-after-start"  # the file is back after it was withdrawn and billed

    @property
    def about_document(self) -> bool:
        """True when the question is about the file, and the verification that runs goes on."""
        return self in (HoldReason.CHANGED_AFTER_START, HoldReason.REAPPEARED_AFTER_START)

    @property
    def blocks(self) -> bool:
        """True when nothing is done for the request until a person decides, but for its privacy clock."""
        return not self.about_document

    @property
    def self_healing(self) -> bool:
        """True when its cause may go away without a word from a person: it is looked at again by itself."""
        return self in (HoldReason.IMAGES_CHANGED, HoldReason.CLAIMS_NOT_KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A question to a person. `evidence` is token-shaped; `essence` is that of the document it is about, if it is."""

    id: str
    reason: HoldReason
    at: float
    evidence: str = ""
    essence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObjection:
    """What Assure itself said to the effect in doubt. Should the effect not have happened, it may come to a person."""

    reason: HoldReason  # refused, or a surprise
    evidence: str  # token-shaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An effect that is committed and not answered. `number` counts the intents of a request, from 1."""

    kind: EffectKind
    number: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """An admitted document: what is wanted. Digests are salted (HMAC-SHA256 under the key beside the store).

    `digest` covers the whole document, `essence` leaves out what may change in place: labels, annotations, retention,
    deadline, suspend. Durations are in seconds.
    """

    digest: str
    essence: str
    process_type: ProcessType
    document_id: int | None = None
    document_type: DocumentKey | None = None  # what the file said instead; `document_id` was resolved at admission
    images: tuple[ImageRef, ...] = ()
    read_back: bool = False
    capture: CaptureOptions | None = None
    deadline: float = 86400.0
    retention: float = 0.0
    suspend: bool = False
    claims_ttl: float | None = None  # how long claims are kept; None: no personal value is
    rerun: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    file: str = ""
    line: int = 0
    commit: str | None = None  # checked out when it was admitted, if the source is under git
    dirty: bool | None = None  # the file was not as in that commit, or not in it
    author: str | None = None  # who committed the file last; a person: not in the row, in a table of its own [I6]

    @property
    def mode(self) -> Mode:
        """Which of the two use cases."""
        return "upload" if self.capture is None else "capture"

    def has(self, depiction: Depiction) -> bool:
        """True when there is such an image."""
        return any(image.depiction is depiction for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What Assure decided: names and booleans only [I6]."""

    status: Status
    reasons: tuple[StatusReason, ...] = ()
    checks: tuple[tuple[str, bool], ...] = ()
    fail_type: str | None = None
    similarity: str | None = None


@dataclass(frozen=True, kw_only=True)  # without slots: see values.replace
class Record:
    """One request and its current generation."""

    # identity
    uid: str
    name: str
    source: str
    agent: str  # the agent id that stands in external references
    # what is wanted
    desired: Desired
    declined: str = ""  # essence of a document that a person left to a later rerun
    next: Desired | None = None  # a newer document; begins once what this generation left is deleted
    present: bool = True  # the file is there
    reruns: tuple[str, ...] = ()  # rerun tokens that were obeyed
    # where it is
    generation: int = 1
    attempt: int = 1  # dossiers begun in this generation; part of the external reference
    phase: Phase = Phase.DOSSIER
    outcome: Outcome | None = None
    hold: Hold | None = None
    intent: Intent | None = None
    intents: int = 0  # how many there were
    doubt: EffectKind | None = None  # an effect whose answer is unknown and not settled yet
    doubt_since: float | None = None  # when it became unknown
    objection: RemoteObjection | None = None  # to the effect in doubt; not audited
    repeats: int = 0  # how often an effect at this dossier was found not to have happened; not audited
    objections: int = 0  # unexpected answers to effects in this generation; not audited
    searched_at: float | None = None  # last look for a dossier in doubt that did not find it; not audited
    # what is known of the remote side
    dossier_id: str | None = None
    process_id: str | None = None
    document_pages: int | None = None  # 2: a back image is needed (contract §6)
    create_unknown: bool = False  # a create was unknown in this dossier: read all of it before a start
    reserved_at: float | None = None  # when a start was taken from the budget
    queued: bool = False  # waits for the budget; nothing of it is at Assure
    verified: bool = False  # the images are still what was admitted
    uploaded: bool = False
    resent: bool = False  # the images are uploaded once more, because the start was refused; not audited
    pending: bool = False  # the process is pending, as a read after the upload shows, or the upload itself
    pending_since: float | None = None  # first such read after an unknown start
    billed: bool = False
    result: Result | None = None  # before there is an outcome: read, and not closed yet, because of its claims
    claims_until: float | None = None  # when the claims of this generation expire; None: none are kept
    discard: bool = False  # its images are to be deleted here once the outcome is there
    discarded: tuple[tuple[Depiction, str], ...] = ()  # what became of them
    deleted: bool = False  # the deletion was answered; its confirmation may be missing
    # times that count
    admitted_at: float = 0.0
    opened_at: float | None = None  # the first create call; the deadline counts from here
    outcome_at: float | None = None
    delete_at: float | None = None  # outcome plus retention
    done_at: float | None = None
    shown_at: float | None = None  # when a person last looked at personal values, at Assure or of the claims
    # pace; not audited
    version: int = 1  # grows with each change; the store refuses a step from another version
    phase_at: float = 0.0  # when the phase was entered
    not_before: float = 0.0
    due_at: float | None = None  # when to look again; None: only when something happens
    failures: int = 0  # in a row, without progress
    unexpected_answers: int = 0
    late_reads: int = 0  # reads after the deadline that decided nothing, in a row
    missing: int = 0  # 404 in a row
    missing_since: float | None = None
    read_at: float | None = None  # last good read of the status

    def has_applied_rerun(self, token: str) -> bool:
        """True for a rerun token that began a generation already, also once its words are forgotten."""
        return token in self.reruns or hashed_rerun_token(self.uid, token) in self.reruns

    @property
    def reference(self) -> str:
        """Our externalReference for the current dossier."""
        return str(Reference(self.agent, self.uid, self.generation, self.attempt))

    @property
    def priority(self) -> int:
        """Who goes first when many are due: 0 new work, 1 what is tried again or deleted, 2 a look at what waits."""
        if self.phase is Phase.RESULT:
            return 2
        if EffectKind.CREATE_DOSSIER in (self.doubt, self.intent and self.intent.kind):
            return 0  # lists show the last 100 dossiers only: find ours before new ones push it out
        return 1 if self.failures or self.doubt or self.intent or self.phase is Phase.DELETION else 0

    @property
    def state(self) -> str:
        """The state for people: active, waiting, held, suspended or done (design §9)."""
        if self.hold is not None:
            return "held"
        if self.phase is Phase.DONE:
            return "done"
        if self.phase is Phase.DELETION:
            return "waiting" if self.in_retention else "active"
        if self.desired.suspend:
            return "suspended"
        return "waiting" if self.phase is Phase.RESULT or self.queued else "active"

    @property
    def blocked(self) -> bool:
        """True while a suspension or a hold stops the work; deadline and deletion go on."""
        return self.desired.suspend or (self.hold is not None and self.hold.reason.blocks)

    @property
    def deadline_at(self) -> float | None:
        """The deadline, counted from the first create call; None before that call."""
        return None if self.opened_at is None else self.opened_at + self.desired.deadline

    @property
    def decides_at(self) -> float | None:
        """When the deadline may decide without an answer of Assure; None when there is no deadline.

        A blocked request has no other work, so `due_at` is its deadline, which HOLD_TTL may have shortened.
        """
        if self.phase in (Phase.DELETION, Phase.DONE) or self.opened_at is None:
            return None
        return self.due_at if self.blocked else self.deadline_at

    @property
    def progressing(self) -> bool:
        """True while it goes on by itself: it waits for no decision, no resumption, no budget, no retention."""
        if self.phase is Phase.DELETION:
            return not self.in_retention
        return self.phase is not Phase.DONE and not self.blocked and not self.queued

    @property
    def capturing(self) -> bool:
        """True while a person may go through the capture flow, and no end of it was seen: a link is theirs to use."""
        waits = self.phase is Phase.RESULT and self.process_id is None and self.result is None
        return waits and self.desired.mode == "capture"

    @property
    def in_retention(self) -> bool:
        """True in retention: the outcome is known and the dossier is kept until `delete_at`."""
        return (
            self.phase is Phase.DELETION
            and self.intent is None
            and self.present
            and self.next is None
            and not self.deleted
            and not self.failures
            and self.doubt is None
            and self.delete_at is not None
            and self.outcome_at is not None
            and self.delete_at > self.outcome_at
        )


def hashed_rerun_token(uid: str, token: str) -> str:
    """A rerun token without its words, which are a person's: it is obeyed once all the same, and paid once."""
    return token if token.startswith(_HASHED) else _HASHED + hashlib.sha256(f"{uid}/{token}".encode()).hexdigest()
