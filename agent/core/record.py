"""The record: everything that the agent knows about one request, as a frozen value.

Times are in seconds since the epoch. `None` means "not yet" or "unknown". `audit.py` lists the audited fields.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agent.core.assure_types import CaptureOptions, Depiction, DocumentKey, ProcessType, Status, StatusReason
from agent.core.effect import EffectKind, ImageRef
from agent.core.reference import Reference

Mode = Literal["upload", "capture"]
State = Literal["active", "waiting", "held", "suspended", "done"]


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
    """The final result of a generation. The deletion of the dossier still follows."""

    ACCEPTED = "accepted"  # as Assure says
    REJECTED = "rejected"  # as Assure says
    INCONCLUSIVE = "inconclusive"  # as Assure says
    CANCELED = "canceled"  # as Assure says: the end user gave up in the capture flow
    FAILED = "failed"  # as Assure says: technical error
    EXPIRED = "expired"  # no final status before the deadline, or held for longer than HOLD_TTL
    WITHDRAWN = "withdrawn"  # the file was removed before there was a result
    LOST = "lost"  # dossier or process vanished at Assure, confirmed
    ABANDONED = "abandoned"  # the operator gave it up


class HoldReason(StrEnum):
    """The reason why a request waits for the operator. `blocks`: the request makes no progress meanwhile."""

    BACK_IMAGE_REQUIRED = "back-image-required"  # the document has two pages and there is no back image
    IMAGES_CHANGED = "images-changed"  # an image is not what was admitted; nothing more is created
    IMAGES_DIFFER = "images-differ"  # Assure returned another image than the one uploaded
    DOCUMENT_TYPE_GONE = "document-type-gone"  # the country and type no longer mean the document that was admitted
    REFUSED = "refused-by-assure"  # Assure refused a call in its own error shape
    UNEXPECTED_ANSWER = "unexpected-answer"  # Assure sent answers that the contract does not define, four times
    HISTORY_LOST = "history-lost"  # the store was lost or restored, and Assure does not show the state of this request
    CLAIMS_NOT_KEPT = "claims-not-kept"  # accepted, but the claims cannot be encrypted: no CLAIMS_KEY, or the disk
    CHANGED_AFTER_START = "changed-after-start"  # the file changed after the start; the operator decides what applies
    REAPPEARED_AFTER_START = "reappeared-after-start"  # the file is back after it was withdrawn and billed

    @property
    def about_document(self) -> bool:
        """True when the hold is about the file. The verification in progress continues."""
        return self in (HoldReason.CHANGED_AFTER_START, HoldReason.REAPPEARED_AFTER_START)

    @property
    def blocks(self) -> bool:
        """True when the request makes no progress until the operator decides, except for its deadline."""
        return not self.about_document

    @property
    def self_healing(self) -> bool:
        """True when the cause may disappear without a decision of the operator. The agent checks it again."""
        return self in (HoldReason.IMAGES_CHANGED, HoldReason.CLAIMS_NOT_KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A decision that the operator has to make."""

    id: str
    reason: HoldReason
    at: float
    evidence: str = ""  # codes and known words
    essence: str = ""  # of the document that the hold is about, if any


class HoldAnswer(StrEnum):
    """How the operator may resolve a hold."""

    RETRY = "retry"  # continue, or verify the document that the hold is about
    ABANDON = "abandon"  # give the request up; a later rerun may verify the document that the hold is about
    ADOPT = "adopt"  # continue with this dossier at Assure


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObjection:
    """Assure's objection to the effect in doubt. If the effect did not happen, it becomes a hold."""

    reason: HoldReason  # REFUSED or UNEXPECTED_ANSWER
    evidence: str  # codes and known words


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An effect that is committed and not answered yet. `number` counts the intents of a request from 1."""

    kind: EffectKind
    number: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The last commit that changed a request file. It is personal data, and has a table of its own [I6].

    `file_commit` and `signer` come from a git source with SOURCE_VERIFY=each.
    """

    author: str | None = None  # as git has it, or why it is not known
    file_commit: str | None = None
    signer: str | None = None  # principal or user id, and fingerprint of the key; verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """An admitted document. Durations are in seconds."""

    digest: str  # of the whole document; HMAC-SHA256 under the identity key of the store
    essence: str  # likewise, without labels, annotations, retention, deadline and suspend
    process_type: ProcessType
    document_id: int | None = None
    document_type: DocumentKey | None = None  # given instead of an id; admission sets `document_id`
    images: tuple[ImageRef, ...] = ()
    read_back: bool = False
    capture: CaptureOptions | None = None
    deadline: float = 86400.0
    retention: float = 0.0
    suspend: bool = False
    claims_ttl: float | None = None  # how long claims are kept; None keeps no claims
    rerun: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    file: str = ""
    line: int = 0
    commit: str | None = None  # the commit that was checked out at admission, if the source is a git checkout
    dirty: bool | None = None  # the file differed from that commit
    origin: Origin | None = None  # kept in a table of its own, not in the row [I6]

    @property
    def mode(self) -> Mode:
        """The use case."""
        return "upload" if self.capture is None else "capture"

    def has(self, depiction: Depiction) -> bool:
        """True when the document has this image."""
        return any(image.depiction is depiction for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Assure's decision: codes and booleans only [I6]."""

    status: Status
    reasons: tuple[StatusReason, ...] = ()
    checks: tuple[tuple[str, bool], ...] = ()
    fail_type: str | None = None
    similarity: str | None = None


@dataclass(frozen=True, kw_only=True)  # without slots, for fast_replace.replace
class Record:
    """One request and its current generation."""

    # identity
    uid: str
    name: str
    source: str
    agent: str  # the agent id in external references
    # the document
    desired: Desired
    declined: str = ""  # essence of a document that the operator left to a later rerun
    next: Desired | None = None  # a newer document; its generation starts once the dossier of this one is deleted
    present: bool = True  # the source contains the file
    reruns: tuple[str, ...] = ()  # rerun tokens that started a generation
    # progress
    generation: int = 1
    attempt: int = 1  # dossiers created in this generation; part of the external reference
    phase: Phase = Phase.DOSSIER
    outcome: Outcome | None = None
    hold: Hold | None = None
    intent: Intent | None = None
    intents: int = 0  # the number of intents so far
    doubt: EffectKind | None = None  # an effect whose answer is unknown
    doubt_since: float | None = None  # when the answer became unknown
    objection: RemoteObjection | None = None  # to the effect in doubt; not audited
    repeats: int = 0  # effects at this dossier that did not happen; not audited
    objections: int = 0  # unexpected answers to effects in this generation; not audited
    searched_at: float | None = None  # last search that did not find the dossier in doubt; not audited
    # the state at Assure
    dossier_id: str | None = None
    process_id: str | None = None
    document_pages: int | None = None  # 2: a back image is needed (contract §6)
    create_unknown: bool = False  # a create in this dossier was unknown: a start needs a read of the whole dossier
    reserved_at: float | None = None  # when a start was reserved in the budget
    queued: bool = False  # waits for the start budget; nothing exists at Assure
    verified: bool = False  # the images match their digests at admission
    uploaded: bool = False
    resent: bool = False  # the images are uploaded again, because Assure refused the start; not audited
    pending: bool = False  # the process is pending, as a later read or the upload itself proved
    pending_since: float | None = None  # first read of `pending` after an unknown start
    billed: bool = False
    result: Result | None = None  # before the outcome: read, but not final for the agent because of the claims
    claims_until: float | None = None  # when the claims of this generation expire, if there are any
    discard: bool = False  # delete the image files here once there is an outcome
    discarded: tuple[tuple[Depiction, str], ...] = ()  # the result of that deletion
    deleted: bool = False  # Assure answered the deletion; the confirmation may be missing
    # audited times
    admitted_at: float = 0.0
    opened_at: float | None = None  # the first create call; the deadline counts from here
    outcome_at: float | None = None
    delete_at: float | None = None  # outcome plus retention
    done_at: float | None = None
    shown_at: float | None = None  # when personal data or claims were last shown to the operator
    # pace; not audited
    version: int = 1  # grows with each change; the store rejects a step from another version
    phase_at: float = 0.0  # when the phase was entered
    not_before: float = 0.0
    due_at: float | None = None  # when the record is due; with None, only an observation continues it
    failures: int = 0  # in a row
    unexpected_answers: int = 0
    late_reads: int = 0  # reads after the deadline without a result, in a row
    missing: int = 0  # 404 in a row
    missing_since: float | None = None
    read_at: float | None = None  # last successful read of the status

    def has_applied_rerun(self, token: str) -> bool:
        """True for a rerun token that already started a generation, also when only its hash is stored."""
        return token in self.reruns or hashed_rerun_token(self.uid, token) in self.reruns

    @property
    def reference(self) -> str:
        """The externalReference of the current dossier."""
        return str(Reference(self.agent, self.uid, self.generation, self.attempt))

    @property
    def priority(self) -> int:
        """The priority among due records: 0 new requests, 1 retries and deletions, 2 polls."""
        if self.phase is Phase.RESULT:
            return 2
        if EffectKind.CREATE_DOSSIER in (self.doubt, self.intent and self.intent.kind):
            return 0  # GET dossiers lists the newest 100 only, so an unanswered create comes first
        return 1 if self.failures or self.doubt or self.intent or self.phase is Phase.DELETION else 0

    @property
    def state(self) -> State:
        """The state for the operator: active, waiting, held, suspended or done (design §9)."""
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
        """True while a suspension or a hold blocks the request. Deadline and deletion still apply."""
        return self.desired.suspend or (self.hold is not None and self.hold.reason.blocks)

    @property
    def deadline_at(self) -> float | None:
        """The deadline, counted from the first create call; None before that call."""
        return None if self.opened_at is None else self.opened_at + self.desired.deadline

    @property
    def decides_at(self) -> float | None:
        """When the deadline may decide without a result from Assure; None when there is no deadline.

        A blocked request has no other work, so `due_at` is its deadline, which HOLD_TTL may have shortened.
        """
        if self.phase in (Phase.DELETION, Phase.DONE) or self.opened_at is None:
            return None
        return self.due_at if self.blocked else self.deadline_at

    @property
    def progressing(self) -> bool:
        """True while the request continues without a decision, the end of a suspension, the budget or its retention."""
        if self.phase is Phase.DELETION:
            return not self.in_retention
        return self.phase is not Phase.DONE and not self.blocked and not self.queued

    @property
    def capturing(self) -> bool:
        """True while the end user may use the capture link: no end of the capture flow was read."""
        waits = self.phase is Phase.RESULT and self.process_id is None and self.result is None
        return waits and self.desired.mode == "capture"

    @property
    def in_retention(self) -> bool:
        """True in retention: the outcome is known and the dossier is kept until `delete_at`."""
        if self.phase is not Phase.DELETION or self.delete_at is None or self.outcome_at is None:
            return False
        attempted = self.intent is not None or self.doubt is not None or self.deleted or self.failures > 0
        return not attempted and self.present and self.next is None and self.delete_at > self.outcome_at


def hashed_rerun_token(uid: str, token: str) -> str:
    """The hash of a rerun token, which may contain personal data. A hashed token still starts only one generation."""
    hashed = "sha256:" + hashlib.sha256(f"{uid}/{token}".encode()).hexdigest()
    return token if token.startswith("sha256:") else hashed
