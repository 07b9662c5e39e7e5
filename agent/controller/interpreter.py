"""Performs one effect and returns the observation. It makes no decision and never raises for an answer."""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from agent.core import effect as e
from agent.core import observations as o
from agent.core.answer import Answer, Busy, CallResult, Done, Evidence, Refused, Unknown
from agent.core.assure_types import Depiction
from agent.core.document_types import check_admitted_id
from agent.core.policy import CLOCK_MARGIN
from agent.ports import (
    Budget,
    ClaimsEncryption,
    ClaimsEncryptionError,
    Clock,
    DocumentTypes,
    Pictures,
    Remote,
    UnusableImage,
)
from agent.ports.remote import list_all_processes

T = TypeVar("T")


class Interpreter:
    """Performs effects against Assure and the images folder."""

    def __init__(
        self,
        remote: Remote,
        images: Pictures,
        types: DocumentTypes,
        budget: Budget,
        clock: Clock,
        chance: Callable[[], float],
        seals: ClaimsEncryption,
    ) -> None:
        self._remote = remote
        self._budget = budget
        self._images = images
        self._types = types
        self._clock = clock
        self._chance = chance
        self._seals = seals
        self._performers: dict[type[e.Effect], Callable[[Any], Awaitable[o.Answered]]] = {
            e.ReserveStart: self._reserve_start,
            e.CreateDossier: self._create_dossier,
            e.FindDossier: self._find_dossier,
            e.CreateProcess: self._create_process,
            e.StartCapture: self._start_capture,
            e.VerifyImages: self._verify_images,
            e.UploadImages: self._upload_images,
            e.CompareImages: self._compare_images,
            e.StartVerification: self._start_verification,
            e.ReadProcess: self._read_process,
            e.ReadDossier: self._read_dossier,
            e.DeleteDossier: self._delete_dossier,
        }
        self._dossiers = _SharedRead(lambda _: remote.list_dossiers())
        self._processes = _SharedRead(lambda since: list_all_processes(remote, since - CLOCK_MARGIN, ()))

    def perform(self, effect: e.Effect) -> Awaitable[o.Answered]:
        """Perform the effect once and return the observation."""
        return self._performers[type(effect)](effect)

    async def _reserve_start(self, effect: e.ReserveStart) -> o.Answered:
        until = await self._budget.take(effect.uid, effect.generation)
        if until is None:
            return o.StartReserved(**self._local_fields())
        return o.BudgetExhausted(until=until, **self._local_fields())

    async def _create_dossier(self, effect: e.CreateDossier) -> o.Answered:
        answer = await self._remote.create_dossier(effect.reference)
        if isinstance(answer, Done):
            return o.DossierCreated(dossier_id=answer.value, **self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _find_dossier(self, effect: e.FindDossier) -> o.Answered:
        answer = await self._dossiers.read(effect.since)
        if not isinstance(answer, Done):
            return self._failure(effect.kind, answer)
        found = [row.dossier_id for row in answer.value if row.reference == effect.reference]
        # In a full list the dossier may be missing. With a process it is also in GET processes.
        if not found and not answer.value.complete:
            rows = await self._processes.read(effect.since) or []
            found = [row.dossier_id for row in rows if row.reference == effect.reference and row.dossier_id is not None]
        return o.DossierSearched(
            dossier_id=found[0] if found else None,
            complete=answer.value.complete,
            **self._answer_fields(answer),
        )

    async def _create_process(self, effect: e.CreateProcess) -> o.Answered:
        if (changed := await self._document_type(effect)) is not None:
            return changed
        answer = await self._remote.create_process(effect.dossier_id, effect.process_type, effect.document_id)
        if not isinstance(answer, Done):
            return self._failure(effect.kind, answer)
        new = answer.value
        return o.ProcessCreated(
            process_id=new.process_id,
            status=new.status,
            document_pages=new.document_pages,
            **self._answer_fields(answer),
        )

    async def _start_capture(self, effect: e.StartCapture) -> o.Answered:
        answer = await self._remote.start_capture(effect.dossier_id, effect.options)
        if isinstance(answer, Done):
            return o.CaptureStarted(link=answer.value, **self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _verify_images(self, effect: e.VerifyImages) -> o.Answered:
        unusable = await self._images.verify(effect.images)
        if unusable is not None:
            return self._unfit_images(effect.kind, unusable)
        return o.ImagesVerified(**self._local_fields())

    async def _upload_images(self, effect: e.UploadImages) -> o.Answered:
        images = await self._images.read(effect.images)
        if isinstance(images, UnusableImage):
            return self._unfit_images(effect.kind, images)
        answer = await self._remote.upload_images(effect.dossier_id, effect.process_id, images)
        if isinstance(answer, Done):
            return o.ImagesUploaded(**self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _compare_images(self, effect: e.CompareImages) -> o.Answered:
        differing: list[Depiction] = []
        for image in effect.images:
            answer = await self._remote.read_image(effect.dossier_id, effect.process_id, image.depiction)
            if not isinstance(answer, Done):
                return self._failure(effect.kind, answer)
            if hashlib.sha256(answer.value).hexdigest() != image.sha256:
                differing.append(image.depiction)
        return o.ImagesCompared(differing=tuple(differing), **self._local_fields())

    async def _start_verification(self, effect: e.StartVerification) -> o.Answered:
        answer = await self._remote.start_verification(effect.dossier_id, effect.process_id)
        if isinstance(answer, Done):
            return o.VerificationStarted(status=answer.value, **self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _read_process(self, effect: e.ReadProcess) -> o.Answered:
        if effect.claims_request is not None:
            return await self._read_result(effect, effect.claims_request)
        answer = await self._remote.read_process(effect.dossier_id, effect.process_id)
        if isinstance(answer, Done):
            return o.ProcessRead(reading=answer.value, **self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _read_result(self, effect: e.ReadProcess, claims_request: e.ClaimsRequest) -> o.Answered:
        """Read a process and encrypt its claims here, so that no other part of the agent sees them in clear [I6]."""
        answer = await self._remote.read_result(effect.dossier_id, effect.process_id)
        if not isinstance(answer, Done):
            return self._failure(effect.kind, answer)
        reading, stamp = answer.value.reading, self._answer_fields(answer)
        if answer.value.claims is None:
            return o.ProcessRead(reading=reading, **stamp)
        try:
            sealed = await asyncio.to_thread(self._seals.encrypt, claims_request, answer.value.claims, stamp["at"])
        except ClaimsEncryptionError as error:
            return o.ClaimsEncryptionFailed(reading=reading, reason=error.reason, **stamp)
        return o.ProcessRead(reading=reading, encrypted_claims=sealed, **stamp)

    async def _read_dossier(self, effect: e.ReadDossier) -> o.Answered:
        answer = await self._remote.read_dossier(effect.dossier_id, effect.expect_missing)
        if isinstance(answer, Done):
            return o.DossierRead(reading=answer.value, **self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _delete_dossier(self, effect: e.DeleteDossier) -> o.Answered:
        answer = await self._remote.delete_dossier(effect.dossier_id, effect.expect_missing)
        if isinstance(answer, Done):
            return o.DossierDeleted(**self._answer_fields(answer))
        return self._failure(effect.kind, answer)

    async def _document_type(self, effect: e.CreateProcess) -> o.Answered | None:
        """Return the answer when the process must not be created; None when the admitted document id is valid."""
        if effect.document_type is None:
            return None
        found = await self._types.resolve(effect.document_type)
        result, cause = check_admitted_id(found, effect.document_id)
        if result is CallResult.DONE:
            return None
        fields = self._local_fields(result, cause)
        if result is CallResult.BUSY:
            return o.EffectDelayed(kind=effect.kind, **fields)
        return o.DocumentTypeGone(reason=cause, **fields)

    def _answer_fields(self, answer: Answer[Any]) -> Any:
        return self._fields(answer.evidence, answer.result)

    def _local_fields(self, result: CallResult = CallResult.DONE, cause: str = "") -> Any:
        """The fields of an answer that needed no call to Assure."""
        return self._fields(Evidence(cause=cause), result)

    def _fields(self, evidence: Evidence, result: CallResult) -> Any:
        return {"at": self._clock.now(), "jitter": self._chance(), "evidence": evidence, "result": result}

    def _unfit_images(self, kind: e.EffectKind, unfit: UnusableImage) -> o.Answered:
        fields = self._local_fields(CallResult.REFUSED, f"{unfit.depiction} {unfit.reason}")
        return o.ImagesInvalid(kind=kind, depiction=unfit.depiction, reason=unfit.reason, **fields)

    def _failure(self, kind: e.EffectKind, answer: Refused | Busy | Unknown) -> o.Answered:
        stamp = self._answer_fields(answer)
        match answer:
            case Busy(retry_after=retry_after):
                return o.EffectDelayed(kind=kind, retry_after=retry_after, **stamp)
            case Unknown():
                return o.EffectUnanswered(kind=kind, **stamp)
            case Refused(missing=True):
                return o.TargetMissing(kind=kind, **stamp)
            case Refused():
                return o.EffectRefused(kind=kind, **stamp)


class _SharedRead(Generic[T]):
    """Shares one read among all callers that arrive before it begins."""

    def __init__(self, read: Callable[[float], Awaitable[T]]) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._since = math.inf
        self._next: asyncio.Task[T] | None = None

    async def read(self, since: float) -> T:
        """Return the result of a read that begins after this call, of data since `since` or earlier."""
        self._since = min(self._since, since)
        if self._next is None:
            self._next = asyncio.create_task(self._read_after_current())
        return await asyncio.shield(self._next)

    async def _read_after_current(self) -> T:
        async with self._lock:
            self._next = None  # later callers wait for the next read
            since, self._since = self._since, math.inf
            return await self._read(since)
