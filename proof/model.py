"""A tiny model of Assure, of the file and of those who edit it, to drive one record; and what holds after any step.

The model shares nothing with the agent but the words of its effects and observations. It knows dossiers, processes,
lists of at most 100 rows, reads that lag, calls that act at once, late or never, and deletions. Whatever may go one way
or another is asked of `Chance`: walks ask random numbers, the exploration takes every way in turn.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any, Protocol, TypeVar

from agent.core.admission import Verdict, judge
from agent.core.answer import Evidence, Trouble
from agent.core.effect import (
    CompareImages,
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    Effect,
    EffectKind,
    FindDossier,
    ImageRef,
    ReadDossier,
    ReadProcess,
    StartCapture,
    StartVerification,
    UploadImages,
    VerifyImages,
)
from agent.core.journal import Audited, audited
from agent.core.machine import Step
from agent.core.observation import (
    CaptureStarted,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DocumentTypeGone,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesCompared,
    ImagesUnfit,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    Sealed,
    SealingFailed,
    TargetMissing,
    VerificationStarted,
)
from agent.core.policy import Policy
from agent.core.record import Desired, Phase, Record
from agent.core.remote import (
    PROVIDER,
    CaptureOptions,
    Depiction,
    DocumentKey,
    DossierReading,
    Found,
    ListedProcess,
    ProcessReading,
    ProcessType,
    Status,
)

T = TypeVar("T")

NOW = 1_800_000_000.0
POLICY = Policy(own_look=5.0)  # looks as often as the bulk list would prompt them

LOST_CONNECTION = Evidence(trouble=Trouble.RESET, cause="reset")
REFUSED = Evidence(status=400, cause="error-body")  # of a start: it proves nothing, says the classifier
DUTCH_PASSPORT = DocumentKey("NLD", "passport")
FRONT = ImageRef(depiction=Depiction.FRONT, path="a/front.jpg", sha256="f" * 64)
BACK = ImageRef(depiction=Depiction.BACK, path="a/back.jpg", sha256="b" * 64)


# -- builders ----------------------------------------------------------------------------------------------------------


def upload(essence: str = "one", *, back: bool = True, **fields: Any) -> Desired:
    """An admitted document with images. Twice the same is the same: the digest follows from what is given."""
    given: dict[str, Any] = {
        "process_type": ProcessType.DOCUMENT,
        "document_id": 137,
        "images": (FRONT, BACK) if back else (FRONT,),
    }
    return digested(Desired(**{"digest": "", "essence": essence, **given, **fields}))


def capture(essence: str = "one", **fields: Any) -> Desired:
    """An admitted document with a capture flow."""
    options = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/verified")
    given: dict[str, Any] = {"process_type": ProcessType.DOCUMENT, "capture": options}
    return digested(Desired(**{"digest": "", "essence": essence, **given, **fields}))


def unadmitted(desired: Desired, **fields: Any) -> Record:
    """A record that nothing happened to yet."""
    return Record(
        **{"uid": "u1", "name": "customer-1", "source": "default", "agent": "a1", "desired": desired, **fields}
    )


def sealed(expires_at: float) -> Sealed:
    """Claims that nobody can open."""
    return Sealed(key_id="2027-01-15-00000000", wrapped=b"wrapped", ciphertext=b"ciphertext", expires_at=expires_at)


def listed(process_id: str, status: Status = Status.PENDING, created_at: str = "1", **fields: Any) -> ListedProcess:
    """A process of the kind we create, as GET dossier lists it."""
    given = {"provider": PROVIDER, "process_type": "document", "created_at": created_at, "updated_at": created_at}
    return ListedProcess(**{"process_id": process_id, "status": status, **given, **fields})


# -- what holds --------------------------------------------------------------------------------------------------------


def check(taken: Step, history: Audited) -> None:
    """What holds after any step [I1, I4, I5]."""
    record, before, effect = taken.record, taken.before, taken.effect
    assert history == audited(record), "the history replays to the record [I5]"
    if record.phase is not Phase.DONE and record.state not in ("held", "suspended"):
        assert record.due_at is not None, "it is looked at again [I1]"
    if record.hold is not None and not record.hold.reason.blocks and record.phase is not Phase.DONE:
        assert record.due_at is not None or record.desired.suspend, "a question about the file stops nothing [I1]"
    if effect is not None and effect.kind.changes:
        assert taken.changed, "the intent is committed with the step [I4]"
        assert record.intent is not None, "the intent stands in the record [I4]"
        assert record.intent.kind is effect.kind
        assert before is None or record.intents == before.intents + 1
    if before is not None and taken.changed:
        assert record.version == before.version + 1
    if before is not None and before.intent is not None and record.intent != before.intent:
        assert taken.answered is not None, "an intent is never dropped without its answer on record"
    if isinstance(effect, StartVerification | StartCapture):
        opened = record.opened_at
        assert opened is not None
        assert record.intent is not None
        assert record.intent.at < opened + record.desired.deadline, "nothing billable after the deadline"


def check_reads(asked: list[tuple[float, Effect]], policy: Policy) -> None:
    """The last effect is no read of a process that was read less than `read_gap` ago."""
    now, effect = asked[-1]
    if not isinstance(effect, ReadProcess):
        return
    for at, earlier in reversed(asked[:-1]):
        if now - at >= policy.read_gap:
            return
        same = isinstance(earlier, ReadProcess) and earlier.process_id == effect.process_id
        assert not same, f"process read {now - at} s after it was read"


# -- a tiny model of Assure --------------------------------------------------------------------------------------------


# Where a 404 may be a passing one. To a deletion, and to the read that confirms it, it means what it says.
PASSING_404 = (
    EffectKind.CREATE_PROCESS,
    EffectKind.START_CAPTURE,
    EffectKind.UPLOAD_IMAGES,
    EffectKind.READ_PROCESS,
    EffectKind.COMPARE_IMAGES,
)


# -- chance ------------------------------------------------------------------------------------------------------------


class Chance(Protocol):
    """Whoever decides what may go one way or another."""

    def happens(self, often: float) -> bool:
        """Does it, this time? `often` from 0 to 1."""

    def choice(self, ways: Sequence[T]) -> T:
        """One of the ways."""

    def fate(self, fates: Mapping["Fate", float]) -> "Fate":
        """How a call goes wrong, by weight."""

    def jitter(self) -> float:
        """The jitter of an observation, in [0, 1)."""


class Drawn:
    """Chance from random numbers."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def happens(self, often: float) -> bool:
        return self._random.random() < often

    def choice(self, ways: Sequence[T]) -> T:
        return self._random.choice(ways)

    def fate(self, fates: Mapping["Fate", float]) -> "Fate":
        return self._random.choices(list(fates), list(fates.values()))[0]

    def jitter(self) -> float:
        return self._random.random()


class Fate(StrEnum):
    """How a call goes wrong."""

    UNFIT = "unfit"  # an image is not what was admitted: nothing was sent
    TYPE_GONE = "type gone"  # nor was the document's type
    BUSY = "busy"
    REFUSED = "refused"
    MISSING = "missing"  # a passing 404
    VANISHED = "vanished"  # the dossier is gone for good (contract §12)
    ACTED = "acted"  # no answer, and it happened, or will
    LOST = "lost"  # no answer, and it did not happen


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """How long things take, in seconds: one of each, by chance."""

    calls: tuple[float, ...] = (0.0, 0.05, 0.5, 3.0)
    answers: tuple[float, ...] = (0.05, 2.0, 30.0)  # of a call that goes wrong
    delays: tuple[float, ...] = (
        0.0,
        0.0,
        1.0,
        10.0,
        29.0,
    )  # until a call acts after it was sent: at most REQUEST_TIMEOUT
    whiles: tuple[float, ...] = (0.5, 8.0, 40.0, 400.0)  # what Assure and people take
    retry_after: tuple[float | None, ...] = (None, 1.0, 20.0)
    people: tuple[int, ...] = (0, 1, 1, 2)  # who come to a capture flow
    verdicts: tuple[Status, ...] = tuple(status for status in Status if status.final)


def _fates(effect: Effect) -> dict[Fate, float]:
    """What may befall this call, by weight."""
    kind = effect.kind
    if kind is EffectKind.VERIFY_IMAGES:
        return {Fate.UNFIT: 1.0}
    fates = {Fate.BUSY: 0.25, Fate.ACTED: 0.52, Fate.LOST: 0.1, Fate.REFUSED: 0.1}
    if kind is EffectKind.UPLOAD_IMAGES:
        fates[Fate.UNFIT] = 0.1
    if isinstance(effect, CreateProcess) and effect.document_type is not None:
        fates[Fate.TYPE_GONE] = 0.1
    if kind in PASSING_404:
        fates[Fate.MISSING] = 0.04
    if hasattr(effect, "dossier_id"):
        fates[Fate.VANISHED] = 0.05
    return fates


@dataclass
class Process:
    """A process of the model. `moves` are its statuses, each from a time on; `started` are the starts that it took."""

    process_id: str
    process_type: str
    moves: list[tuple[float, Status]]
    started: list[float] = field(default_factory=list)

    @property
    def created(self) -> float:
        return self.moves[0][0]

    def status(self, at: float) -> Status:
        return [status for since, status in self.moves if since <= at][-1]


@dataclass
class Dossier:
    """A dossier of the model."""

    dossier_id: str
    reference: str
    created: float
    deleted_at: float | None = None
    processes: list[Process] = field(default_factory=list)


@dataclass
class Assure:
    """The model. `calm` is a well-behaved world: no trouble, no lag, nothing that takes long."""

    chance: Chance
    lag: float = 0.0  # a read may be this much behind
    trouble: float = 0.3  # how often a call goes wrong
    paces: Paces = Paces()
    calm: bool = False
    dossiers: dict[str, Dossier] = field(default_factory=dict)
    ids: int = 0

    # what the invariants ask

    def open_dossiers(self) -> list[Dossier]:
        """Those that are not deleted, also those that a late call will make."""
        return [dossier for dossier in self.dossiers.values() if dossier.deleted_at is None]

    def shown(self, at: float) -> list[Found]:
        """What the lists show under our references, when nothing lags."""
        found = []
        for dossier in self.open_dossiers():
            if dossier.created > at:
                continue
            generation, attempt = map(int, dossier.reference.split("-")[-2:])
            processes = self._dossier_reading(dossier, at).processes
            one = Found(generation=generation, attempt=attempt, dossier_id=dossier.dossier_id, processes=processes)
            found.append(one)
        return found

    def starts_of(self, generation: str) -> list[tuple[str, float]]:
        """Process and time of each start that counted, for references that begin so (`aa-agent-uid-generation-`)."""
        return [
            (process.process_id, at)
            for dossier in self.dossiers.values()
            if dossier.reference.startswith(generation)
            for process in dossier.processes
            for at in process.started
        ]

    # what is asked of it

    def perform(self, effect: Effect, at: float) -> tuple[Observation, float]:
        """Perform an effect at a time; returns the answer as it reaches us, and when."""
        if not self.calm and self.chance.happens(self.trouble):
            return self._troubled(effect, at)
        took = at if self.calm else at + self.chance.choice(self.paces.calls)
        return self.act(effect, at, took), took

    def crash(self, effect: Effect, at: float) -> None:
        """We end after the intent was committed: it was sent or not, and acts, or not."""
        if self.chance.choice((True, True, False)):
            self.act(effect, at + self._delay(), at)

    def _troubled(self, effect: Effect, at: float) -> tuple[Observation, float]:
        kind = effect.kind
        took = at + self.chance.choice(self.paces.answers)
        fate = self.chance.fate(_fates(effect))
        jitter = self.chance.jitter
        match fate:
            case Fate.UNFIT:
                return ImagesUnfit(at=at, kind=kind, depiction=Depiction.FRONT, reason="changed"), at
            case Fate.TYPE_GONE:
                return DocumentTypeGone(at=at, reason="not-listed"), at
            case Fate.BUSY:
                retry_after = self.chance.choice(self.paces.retry_after)
                return EffectDelayed(at=took, kind=kind, retry_after=retry_after, chance=jitter()), took
            case Fate.REFUSED if kind is EffectKind.START_VERIFICATION:
                return EffectUnanswered(at=took, kind=kind, evidence=REFUSED, chance=jitter()), took
            case Fate.REFUSED:
                return EffectRefused(at=took, kind=kind, evidence=Evidence(status=400)), took
            case Fate.MISSING:
                return TargetMissing(at=took, kind=kind, evidence=Evidence(status=404)), took
            case Fate.VANISHED:
                self.dossiers[effect.dossier_id].deleted_at = at  # type: ignore[attr-defined]  # it keeps nothing for ever
                return self._missing(effect, took), took
            case Fate.ACTED:
                self.act(effect, at + self._delay(), took)
        evidence = (
            Evidence(status=200, cause="unreadable") if self.chance.choice((True, *[False] * 4)) else LOST_CONNECTION
        )
        return EffectUnanswered(at=took, kind=kind, evidence=evidence, chance=jitter()), took

    def _delay(self) -> float:
        """How long after it was sent a call acts: at most REQUEST_TIMEOUT."""
        return self.chance.choice(self.paces.delays)

    def act(self, effect: Effect, at: float, took: float) -> Observation:
        """Do it, as of `at`. The answer is exact."""
        match effect:
            case VerifyImages():
                return ImagesVerified(at=took)
            case CreateDossier(reference=reference):
                dossier = Dossier(self._id("D"), reference, at)
                self.dossiers[dossier.dossier_id] = dossier
                return DossierCreated(at=took, dossier_id=dossier.dossier_id)
            case FindDossier(reference=reference):
                return self._find(reference, took)
        dossier = self.dossiers[effect.dossier_id]  # type: ignore[attr-defined]
        lagging = isinstance(effect, ReadDossier) and dossier.deleted_at is not None
        if dossier.deleted_at is not None and not (lagging and took - self._behind() < dossier.deleted_at):
            return self._missing(effect, took)
        if isinstance(effect, DeleteDossier):
            dossier.deleted_at = at
            return DossierDeleted(at=took)
        if isinstance(effect, ReadDossier):
            return DossierRead(at=took, reading=self._dossier_reading(dossier, took - self._behind()))
        if isinstance(effect, CreateProcess):
            return self._create_process(dossier, effect, at, took)
        if isinstance(effect, StartCapture):
            self._people(dossier, at)
            return CaptureStarted(at=took, link=f"https://capture.example/{self._id('L')}")
        return self._in_process(dossier, effect, at, took)

    def _missing(self, effect: Effect, took: float) -> Observation:
        evidence = Evidence(status=404)
        if effect.kind is EffectKind.START_VERIFICATION:  # proves nothing, says the classifier
            return EffectUnanswered(at=took, kind=effect.kind, evidence=evidence)
        return TargetMissing(at=took, kind=effect.kind, evidence=evidence)

    def _in_process(self, dossier: Dossier, effect: Any, at: float, took: float) -> Observation:
        process = next(one for one in dossier.processes if one.process_id == effect.process_id)
        seen = max(process.created, took - self._behind())
        match effect:
            case UploadImages():
                if process.status(max(at, process.created)) is not Status.PENDING:
                    return EffectRefused(at=took, kind=effect.kind, evidence=Evidence(status=400))
                return ImagesUploaded(at=took)
            case CompareImages():
                return ImagesCompared(at=took)
            case ReadProcess(keeping=keeping):
                reading = ProcessReading(process_id=process.process_id, status=process.status(seen))
                if keeping is None or reading.status is not Status.ACCEPTED:
                    return ProcessRead(at=took, reading=reading)
                if not self.calm and self.chance.happens(0.6):
                    return SealingFailed(at=took, reading=reading, reason="disk")
                return ProcessRead(at=took, reading=reading, sealed=sealed(took + keeping.ttl))
            case StartVerification():
                return self._start(process, at, took)
        raise AssertionError(effect)

    def _create_process(self, dossier: Dossier, effect: CreateProcess, at: float, took: float) -> Observation:
        status = Status.PROCESSING if not self.calm and self.chance.happens(0.03) else Status.PENDING
        process = Process(self._id("P"), effect.process_type, [(at, status)])
        if not self.calm and self.chance.happens(0.1):
            process.moves.append((at + self._while(), Status.FAILED))  # by somebody, through /fail
        elif status is Status.PROCESSING:
            process.moves.append((at + self._while(), self._verdict()))
        dossier.processes.append(process)
        pages = self.chance.choice((None, 1, 2))
        return ProcessCreated(at=took, process_id=process.process_id, status=status, document_pages=pages)

    def _start(self, process: Process, at: float, took: float) -> Observation:
        again = bool(process.started)
        if again:
            process.started.append(at)  # asked for twice: it counts, whatever Assure says to it
        if again or process.status(max(at, process.created)) is not Status.PENDING:
            return EffectUnanswered(at=took, kind=EffectKind.START_VERIFICATION, evidence=REFUSED)
        if process.moves[-1][0] > at:
            del process.moves[-1]
        process.started.append(at)
        process.moves += [(at, Status.PROCESSING), (at + self._while(), self._verdict())]
        return VerificationStarted(at=took, status=process.status(at))

    def _people(self, dossier: Dossier, at: float) -> None:
        """What the person will do with the link: cancel and begin again, or finish, or never come."""
        for _ in range(1 if self.calm else self.chance.choice(self.paces.people)):
            came = at + self._while()
            sent = came + self._while()
            moves = [(came, Status.PENDING), (sent, Status.PROCESSING), (sent + self._while(), self._verdict())]
            dossier.processes.append(Process(self._id("P"), "document", moves))

    def _find(self, reference: str, took: float) -> Observation:
        seen = took - self._behind()
        crowded = not self.calm and self.chance.happens(0.1)
        ours = [
            dossier.dossier_id
            for dossier in self.open_dossiers()
            if dossier.reference == reference and dossier.created <= seen and not crowded
        ]
        return DossierSearched(at=took, dossier_id=ours[0] if ours else None, listed=100 if crowded else len(ours))

    def _dossier_reading(self, dossier: Dossier, seen: float) -> DossierReading:
        processes = tuple(
            ListedProcess(
                process_id=one.process_id,
                provider=PROVIDER,
                process_type=one.process_type,
                status=one.status(seen),
                created_at=f"{one.created:020.3f}",
                updated_at=f"{[since for since, _ in one.moves if since <= seen][-1]:020.3f}",
            )
            for one in dossier.processes
            if one.created <= seen
        )
        return DossierReading(dossier_id=dossier.dossier_id, reference=dossier.reference, processes=processes)

    def _behind(self) -> float:
        return 0.0 if self.calm else self.lag if self.chance.happens(1 / 3) else 0.0

    def _while(self) -> float:
        return 2.0 if self.calm else self.chance.choice(self.paces.whiles)

    def _verdict(self) -> Status:
        return self.chance.choice(self.paces.verdicts)

    def _id(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}{self.ids}"


# -- the source --------------------------------------------------------------------------------------------------------


def told_by_source(record: Record, file: Desired | None, at: float) -> Observation | None:
    """What the source loop says of the file that is there now, or None when nothing is new."""
    if file is None:
        return DocumentRemoved(at=at) if record.present else None
    verdict = judge(record, file.digest, file.essence, record.desired.file)
    if verdict is Verdict.FOLLOWED:
        return None
    return (DocumentReturned if verdict is Verdict.RETURNED else DocumentChanged)(at=at, desired=file)


def edits(random: Random, file: Desired | None, original: Desired) -> Desired | None:
    """What a person does to the file next."""
    now = file or original
    return random.choice(
        [
            None,
            original,
            digested(replace(now, essence=random.choice(("one", "two", "three")))),
            digested(replace(now, suspend=not now.suspend)),
            digested(replace(now, deadline=random.choice((120.0, 900.0, 86400.0)))),
            digested(replace(now, retention=random.choice((0.0, 60.0, 1e6)))),
            digested(replace(now, rerun=random.choice(("t1", "t2", "t3")))),
        ]
    )


def digested(document: Desired) -> Desired:
    """The document with the digest of what it says: the same words, the same digest."""
    parts = (document.mode, document.essence, document.images, document.suspend)
    durations = (document.deadline, document.retention, document.rerun, document.claims_ttl)
    said = "/".join(str(part) for part in (*parts, *durations))
    return replace(document, digest=hashlib.sha256(said.encode()).hexdigest()[:32])


def seeds(name: str, count: int) -> Iterator[Random]:
    """Independent and repeatable chances."""
    return (Random(f"{name}/{number}") for number in range(count))
