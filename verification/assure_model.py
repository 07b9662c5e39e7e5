"""A small model of Assure that drives one record. `builders/records.py` has the file and its edits.

The model shares only the terms of effects and observations with the agent. It has dossiers, processes, lists of at most
100 rows and reads that lag. Its calls act at once, late or never. `Choices` makes every decision: random walks draw
numbers, and the exploration takes every way in turn.
"""

from dataclasses import dataclass, field
from typing import Any

from agent.core.answer import Evidence, Trouble
from agent.core.assure_types import (
    PROVIDER,
    Depiction,
    DossierReading,
    FoundDossier,
    ListedProcess,
    ProcessReading,
    Status,
)
from agent.core.effect import (
    CompareImages,
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    Effect,
    EffectKind,
    FindDossier,
    ReadDossier,
    ReadProcess,
    StartCapture,
    StartVerification,
    UploadImages,
    VerifyImages,
)
from agent.core.observations import (
    CaptureStarted,
    ClaimsEncryptionFailed,
    DocumentTypeGone,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesCompared,
    ImagesInvalid,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    TargetMissing,
    VerificationStarted,
)
from verification.builders.records import sealed
from verification.choices import CallFailure, Choices, Timings, call_failures

LOST_CONNECTION = Evidence(trouble=Trouble.RESET, cause="reset")
REFUSED = Evidence(status=400, cause="error-body")  # of a start: the classifier does not treat it as proof


@dataclass
class Process:
    """A process of the model. `moves`: its statuses with their times. `started`: the times of the starts that it
    accepted."""

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
class AssureModel:
    """The model. `settle_all` switches off failures, lag and delays."""

    chance: Choices
    lag: float = 0.0  # the largest lag of a read
    adversities: float = 0.3  # the probability that a call fails
    timings: Timings = field(default_factory=Timings)
    settle_all: bool = False
    dossiers: dict[str, Dossier] = field(default_factory=dict)
    ids: int = 0

    def open_dossiers(self) -> list[Dossier]:
        """Dossiers that exist, and those that a late call will create."""
        return [dossier for dossier in self.dossiers.values() if dossier.deleted_at is None]

    def shown(self, at: float) -> list[FoundDossier]:
        """The rows that the lists show for the agent's references without lag."""
        found = []
        for dossier in self.open_dossiers():
            if dossier.created > at:
                continue
            generation, attempt = map(int, dossier.reference.split("-")[-2:])
            processes = self._dossier_reading(dossier, at).processes
            one = FoundDossier(
                generation=generation, attempt=attempt, dossier_id=dossier.dossier_id, processes=processes
            )
            found.append(one)
        return found

    def starts_of(self, generation: str) -> list[tuple[str, float]]:
        """The process and time of each counted start, for references with this prefix (`aa-agent-uid-generation-`)."""
        return [
            (process.process_id, at)
            for dossier in self.dossiers.values()
            if dossier.reference.startswith(generation)
            for process in dossier.processes
            for at in process.started
        ]

    def perform(self, effect: Effect, at: float) -> tuple[Observation, float]:
        """Perform an effect at a time. Return the answer and the time at which it reaches the agent."""
        if not self.settle_all and self.chance.happens(self.adversities):
            return self._fail_call(effect, at)
        took = at if self.settle_all else at + self.chance.choice(self.timings.calls)
        return self.act(effect, at, took), took

    def crash(self, effect: Effect, at: float) -> None:
        """The agent crashes after the commit of the intent. The call was sent or not, and acts or not."""
        if self.chance.choice((True, True, False)):
            self.act(effect, at + self._delay(), at)

    def _fail_call(self, effect: Effect, at: float) -> tuple[Observation, float]:
        kind = effect.kind
        took = at + self.chance.choice(self.timings.answers)
        fate = self.chance.call_failure(call_failures(effect))
        jitter = self.chance.jitter
        match fate:
            case CallFailure.UNFIT:
                return ImagesInvalid(at=at, kind=kind, depiction=Depiction.FRONT, reason="changed"), at
            case CallFailure.TYPE_GONE:
                return DocumentTypeGone(at=at, reason="not-listed"), at
            case CallFailure.BUSY:
                retry_after = self.chance.choice(self.timings.retry_after)
                return EffectDelayed(at=took, kind=kind, retry_after=retry_after, jitter=jitter()), took
            case CallFailure.REFUSED if kind is EffectKind.START_VERIFICATION:
                return EffectUnanswered(at=took, kind=kind, evidence=REFUSED, jitter=jitter()), took
            case CallFailure.REFUSED:
                return EffectRefused(at=took, kind=kind, evidence=Evidence(status=400)), took
            case CallFailure.MISSING:
                return TargetMissing(at=took, kind=kind, evidence=Evidence(status=404)), took
            case CallFailure.VANISHED:
                self.dossiers[effect.dossier_id].deleted_at = at  # type: ignore[attr-defined]  # the model deletes it late
                return self._missing(effect, took), took
            case CallFailure.ACTED:
                self.act(effect, at + self._delay(), took)
        evidence = (
            Evidence(status=200, cause="unreadable") if self.chance.choice((True, *[False] * 4)) else LOST_CONNECTION
        )
        return EffectUnanswered(at=took, kind=kind, evidence=evidence, jitter=jitter()), took

    def _delay(self) -> float:
        """The seconds from the sending of a call to its effect, at most REQUEST_TIMEOUT."""
        return self.chance.choice(self.timings.delays)

    def act(self, effect: Effect, at: float, took: float) -> Observation:
        """Execute the call as of `at`. The answer is exact."""
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
        if dossier.deleted_at is not None and not (lagging and took - self._lagging() < dossier.deleted_at):
            return self._missing(effect, took)
        if isinstance(effect, DeleteDossier):
            dossier.deleted_at = at
            return DossierDeleted(at=took)
        if isinstance(effect, ReadDossier):
            return DossierRead(at=took, reading=self._dossier_reading(dossier, took - self._lagging()))
        if isinstance(effect, CreateProcess):
            return self._create_process(dossier, effect, at, took)
        if isinstance(effect, StartCapture):
            self._people(dossier, at)
            return CaptureStarted(at=took, link=f"https://capture.example/{self._id('L')}")
        return self._in_process(dossier, effect, at, took)

    def _missing(self, effect: Effect, took: float) -> Observation:
        evidence = Evidence(status=404)
        if effect.kind is EffectKind.START_VERIFICATION:  # the classifier does not treat it as proof
            return EffectUnanswered(at=took, kind=effect.kind, evidence=evidence)
        return TargetMissing(at=took, kind=effect.kind, evidence=evidence)

    def _in_process(self, dossier: Dossier, effect: Any, at: float, took: float) -> Observation:
        process = next(one for one in dossier.processes if one.process_id == effect.process_id)
        seen = max(process.created, took - self._lagging())
        match effect:
            case UploadImages():
                if process.status(max(at, process.created)) is not Status.PENDING:
                    return EffectRefused(at=took, kind=effect.kind, evidence=Evidence(status=400))
                return ImagesUploaded(at=took)
            case CompareImages():
                return ImagesCompared(at=took)
            case ReadProcess(claims_request=keeping):
                reading = ProcessReading(process_id=process.process_id, status=process.status(seen))
                if keeping is None or reading.status is not Status.ACCEPTED:
                    return ProcessRead(at=took, reading=reading)
                if not self.settle_all and self.chance.happens(0.6):
                    return ClaimsEncryptionFailed(at=took, reading=reading, reason="disk")
                return ProcessRead(at=took, reading=reading, encrypted_claims=sealed(took + keeping.ttl))
            case StartVerification():
                return self._start(process, at, took)
        raise AssertionError(effect)

    def _create_process(self, dossier: Dossier, effect: CreateProcess, at: float, took: float) -> Observation:
        status = Status.PROCESSING if not self.settle_all and self.chance.happens(0.03) else Status.PENDING
        process = Process(self._id("P"), effect.process_type, [(at, status)])
        if not self.settle_all and self.chance.happens(0.1):
            process.moves.append((at + self._duration(), Status.FAILED))  # another client calls /fail
        elif status is Status.PROCESSING:
            process.moves.append((at + self._duration(), self._verdict()))
        dossier.processes.append(process)
        pages = self.chance.choice((None, 1, 2))
        return ProcessCreated(at=took, process_id=process.process_id, status=status, document_pages=pages)

    def _start(self, process: Process, at: float, took: float) -> Observation:
        again = bool(process.started)
        if again:
            process.started.append(at)  # a second start counts, even if Assure refuses it
        if again or process.status(max(at, process.created)) is not Status.PENDING:
            return EffectUnanswered(at=took, kind=EffectKind.START_VERIFICATION, evidence=REFUSED)
        if process.moves[-1][0] > at:
            del process.moves[-1]
        process.started.append(at)
        process.moves += [(at, Status.PROCESSING), (at + self._duration(), self._verdict())]
        return VerificationStarted(at=took, status=process.status(at))

    def _people(self, dossier: Dossier, at: float) -> None:
        """Choose the acts of the end user with the link: cancel and restart, finish, or not open it."""
        for _ in range(1 if self.settle_all else self.chance.choice(self.timings.people)):
            came = at + self._duration()
            sent = came + self._duration()
            moves = [(came, Status.PENDING), (sent, Status.PROCESSING), (sent + self._duration(), self._verdict())]
            dossier.processes.append(Process(self._id("P"), "document", moves))

    def _find(self, reference: str, took: float) -> Observation:
        seen = took - self._lagging()
        crowded = not self.settle_all and self.chance.happens(0.1)
        ours = [
            dossier.dossier_id
            for dossier in self.open_dossiers()
            if dossier.reference == reference and dossier.created <= seen and not crowded
        ]
        return DossierSearched(at=took, dossier_id=ours[0] if ours else None, complete=not crowded)

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

    def _lagging(self) -> float:
        return 0.0 if self.settle_all else self.lag if self.chance.happens(1 / 3) else 0.0

    def _duration(self) -> float:
        return 2.0 if self.settle_all else self.chance.choice(self.timings.whiles)

    def _verdict(self) -> Status:
        return self.chance.choice(self.timings.verdicts)

    def _id(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}{self.ids}"
