"""The source loop: from a scan to the records. It gathers what a scan saw and what we know, and tells the reconciler.

A scan is the truth, whole or not at all for what is absent: a request is withdrawn only when its name was in no file at
two complete scans in a row, and never many at once without a person's word. A file that is there but refused keeps the
last good generation. A look at some files admits what is good in them and leaves all else to a scan. Who decides what a
document means is `core/admission.py`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from agent.core.admission import Verdict, begins, judge, parsed_answer, withdrawals_allowed
from agent.core.document_types import Resolution, Unresolved, explain
from agent.core.effect import ImageRef
from agent.core.errors import AgentError
from agent.core.observation import Answer, DocumentChanged, DocumentRemoved, DocumentReturned, HoldResolved, Observation
from agent.core.record import Desired, Record
from agent.core.remote import CaptureOptions, DocumentKey
from agent.core.request import RESOLVE, VerificationRequest, essence
from agent.ports import Clock, DocumentTypes, Store
from agent.settings import Settings
from agent.source.fault import Fault
from agent.source.folder import Folder, Root, Scan
from agent.source.history import Checkout, Origin
from agent.source.images import Inspected, inspect
from agent.source.loader import Document

_TRUSTED = "trusted-root"
_WAITING_SINCE = "withdrawals-wait-since"
_CHUNK = 1000  # documents per transaction: other commits go between
Resolved = Mapping[DocumentKey, Resolution | None]  # what document types mean; None: it cannot be known now


class Records(Protocol):
    """Who keeps the records: the reconciler, or the store alone while no agent runs."""

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests, in one transaction."""

    async def tell(self, observations: Mapping[str, Observation]) -> None:
        """Let records know of something, by uid."""


class Salt(Protocol):
    """What makes uids and digests ours."""

    def uid(self, source: str, name: str) -> str:
        """The uid of a request."""

    def digest(self, content: bytes) -> str:
        """A salted digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What came of one scan."""

    files: int
    refusals: tuple[Fault, ...]
    waiting: int  # withdrawals that wait for a person's word
    unsettled: bool  # something is being written: scan again soon
    absent: int  # names that are gone since this scan: the next one decides
    complete: bool
    strays: frozenset[str] = frozenset()  # uids whose `assure-agent/resolve` answers no open hold
    error: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look left open."""

    unsettled: frozenset[str] = frozenset()  # files that are being written: look again soon
    open: bool = False  # only a scan can tell: faults, shared names


@dataclass(slots=True)
class _News:
    """What one chunk of documents comes to."""

    admitted: list[Record] = field(default_factory=list)
    told: dict[str, Observation] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    later: list[Document] = field(default_factory=list)  # their document type has to be looked up first
    wanted: set[DocumentKey] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is admitted: from where, under which name, with which limits."""

    source: str
    agent_id: str
    images_dir: Path
    max_image_bytes: int
    redirect_hosts: frozenset[str] = frozenset()  # empty: any

    @classmethod
    def of(cls, settings: Settings, agent_id: str) -> "Rules":
        """What the settings say; `agent_id` where none is set."""
        return cls(
            source=settings.source_name,
            agent_id=settings.agent_id or agent_id,
            images_dir=settings.images_dir,
            max_image_bytes=settings.max_image_bytes,
            redirect_hosts=frozenset(settings.redirect_hosts),
        )

    def ours(self, reference: str) -> bool:
        """True for an external reference of this agent's making."""
        return reference.startswith(f"aa-{self.agent_id}-")


class Admission:
    """Keeps the records in step with a folder. One scan at a time."""

    def __init__(
        self,
        folder: Folder,
        rules: Rules,
        store: Store,
        records: Records,
        salt: Salt,
        types: DocumentTypes,
        clock: Clock,
        synced: Callable[[Synced], None] = lambda synced: None,
        checkout: Checkout | None = None,
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._store = store
        self._records = records
        self._salt = salt
        self._types = types
        self._clock = clock
        self._synced = synced
        self._followed: dict[str, Document] = {}  # documents that need no second look, by name
        self._present: dict[str, str] | None = None  # name -> uid of what was there
        self._absent: frozenset[str] = frozenset()  # names missing from the last complete scan
        self._root: Root | None = None  # the folder in which everything was there
        self._strays: dict[str, Document] = {}  # uids whose file answers another hold than the open one
        self._refusals: tuple[Fault, ...] | None = None
        self._waiting = 0  # withdrawals that wait for a person's word
        self._checkout = checkout
        self._visit = checkout.visit() if checkout is not None else None
        self._turn = asyncio.Lock()

    async def scan(self, hinted: bool = False) -> Synced:
        """Scan once, and admit, change, withdraw or refuse what follows from it.

        A scan for a hint comes at any time, so it is none of the two that prove an absence: it withdraws nothing.
        """
        async with self._turn:
            self._visit = self._checkout.visit() if self._checkout is not None else None
            if self._present is None:
                self._present = self._store.present(self._rules.source)
            seen = await asyncio.to_thread(self._folder.scan)
            faults = list(seen.faults)
            self._strays = {uid: kept for uid, kept in self._strays.items() if seen.documents.get(kept.name) is kept}
            fresh = [document for name, document in seen.documents.items() if self._followed.get(name) is not document]
            news = iter(sorted(fresh, key=lambda document: document.type_at is not None))  # those may wait for Assure
            while chunk := list(islice(news, _CHUNK)):
                faults += await self._take(chunk)
            missing, self._waiting = (frozenset(), self._waiting) if hinted else await self._withdraw(seen)
            self._absent = self._absent - seen.documents.keys() - seen.claimed if seen.complete else frozenset()
            synced = Synced(
                files=seen.files,
                refusals=tuple(faults),
                waiting=self._waiting,
                unsettled=seen.unsettled,
                absent=len(missing),
                complete=seen.complete,
                strays=frozenset(self._strays),
                error=seen.error,
            )
            await self._note(synced)
            return synced

    async def document(self, name: str, rerun: str | None) -> Desired:
        """The document of this name as it is in the source now, asking for a rerun if a token is given.

        Raises AgentError when it is not there, or would be refused.
        """
        async with self._turn:
            seen = await asyncio.to_thread(self._folder.scan)
            document = seen.documents.get(name)
            if document is None:
                raise AgentError(f"There is no good document named {name} in the source.", "put it there, or mend it")
            digest = self._salt.digest(document.canonical)
            desired = await asyncio.to_thread(self._desired, document, digest, None, Verdict.ADMIT, {})
            if isinstance(desired, DocumentKey):
                found = {desired: await self._types.resolve(desired)}
                desired = await asyncio.to_thread(self._desired, document, digest, None, Verdict.ADMIT, found)
            assert not isinstance(desired, DocumentKey)
            if not isinstance(desired, Desired):
                raise AgentError(f"{desired[0]}.", desired[0].hint)
            return replace(desired, rerun=rerun) if rerun is not None else desired

    async def look(self, files: Collection[str]) -> Looked:
        """Admit or change what is good in these files, paths below the folder. Withdraws and refuses nothing."""
        unsettled: frozenset[str] = frozenset()
        left = False
        remaining = iter(files)
        visit = self._checkout.visit() if self._checkout is not None else None
        while chunk := list(islice(remaining, _CHUNK)):
            async with self._turn:  # a scan may come between
                if self._present is None:
                    return Looked(open=True)
                self._visit = visit
                seen = await asyncio.to_thread(self._folder.look, chunk)
                faults = await self._take(seen.documents)
                self._absent -= {document.name for document in seen.documents}
            unsettled |= seen.unsettled
            left = left or seen.open or bool(faults)
        return Looked(unsettled=unsettled, open=left)

    # -- what is there ---------------------------------------------------------------------------------------

    async def _take(self, documents: Sequence[Document], resolved: Resolved | None = None) -> list[Fault]:
        news = await asyncio.to_thread(self._judge, documents, resolved or {})
        if news.admitted:
            await self._records.admit(news.admitted)
        if news.told:
            await self._records.tell(news.told)
        if news.later:
            found = {wanted: await self._types.resolve(wanted) for wanted in sorted(news.wanted)}
            news.faults += await self._take(news.later, found)
        return news.faults

    def _judge(self, documents: Iterable[Document], resolved: Resolved) -> _News:
        assert self._present is not None
        news = _News()
        wanted: list[tuple[Document, str, Record | None, Verdict, Desired]] = []
        for document in documents:
            uid = self._salt.uid(self._rules.source, document.name)
            record = self._store.get(uid)
            answered = self._answered(record, document, resolved)
            if isinstance(answered, HoldResolved):
                news.told[uid] = answered
                continue
            if isinstance(answered, list):
                news.faults += answered
                continue
            if isinstance(answered, DocumentKey):
                news.later.append(document)
                news.wanted.add(answered)
                continue
            digest = self._salt.digest(document.canonical)
            essential = self._salt.digest(essence(document.request))
            verdict = judge(record, digest, essential, document.file)
            if verdict is Verdict.FOLLOWED:
                self._followed[document.name] = document
                self._present[document.name] = uid
                continue
            desired = self._desired(document, digest, record, verdict, resolved)
            if isinstance(desired, DocumentKey):
                news.later.append(document)
                news.wanted.add(desired)
                continue
            if not isinstance(desired, Desired):
                news.faults += desired
                continue
            wanted.append((document, uid, record, verdict, desired))
        origins = self._visit.about({document.file for document, *_ in wanted}) if self._visit and wanted else {}
        for document, uid, record, verdict, plain in wanted:
            self._present[document.name] = uid
            desired = _signed(plain, origins.get(document.file))
            if record is None:
                news.admitted.append(self._record(uid, document.name, desired))
            else:
                kind = DocumentChanged if verdict is Verdict.CHANGED else DocumentReturned
                news.told[uid] = kind(at=self._clock.now(), desired=desired)
        return news

    def _answered(
        self, record: Record | None, document: Document, resolved: Resolved
    ) -> HoldResolved | DocumentKey | list[Fault] | None:
        """The answer to the open hold that stands in the file; an answer to any other is ignored, and counted."""
        if record is None or RESOLVE.encode() not in document.canonical:
            return None
        request = document.request
        if request.resolve_answer is None or record.hold is None:
            return None
        answer = parsed_answer(request.resolve_answer)
        if answer is None or answer[2] != record.hold.id:
            self._strays[record.uid] = document
            return None
        desired = None
        if record.hold.reason.about_document and answer[0] is Answer.RETRY:
            digest = self._salt.digest(document.canonical)
            found = self._desired(document, digest, None, Verdict.ADMIT, resolved)
            if not isinstance(found, Desired):
                return found  # a type to look up first; or faults: it is obeyed once they are mended
            desired = found
        return HoldResolved(
            at=self._clock.now(), hold_id=answer[2], answer=answer[0], dossier_id=answer[1], desired=desired
        )

    def _record(self, uid: str, name: str, desired: Desired) -> Record:
        return Record(uid=uid, name=name, source=self._rules.source, agent=self._rules.agent_id, desired=desired)

    def _desired(
        self, document: Document, digest: str, record: Record | None, verdict: Verdict, resolved: Resolved
    ) -> Desired | DocumentKey | list[Fault]:
        """What is wanted; or what is wrong; or the document type that has to be looked up before that can be said."""
        request = document.request
        essential = self._salt.digest(essence(request))
        if faults := list(self._forbidden(document, request)):
            return faults
        paths = request.spec.upload.images.paths if request.spec.upload is not None else {}
        if not begins(record, verdict, essential, request.rerun_token):
            assert record is not None
            kept = record.desired
            return _desired(request, document, digest, essential, kept.images, kept.document_id)
        wanted = _document_key(request)
        if wanted is not None and wanted not in resolved:
            return wanted
        identified = _document_id(request) if wanted is None else _identified(document, wanted, resolved[wanted])
        found = inspect(self._rules.images_dir, paths, self._rules.max_image_bytes)
        if isinstance(found, Inspected) and not isinstance(identified, Fault):
            images = tuple(
                ImageRef(depiction=depiction, path=paths[depiction], sha256=picture.sha256)
                for depiction, picture in found.pictures.items()
            )
            return _desired(request, document, digest, essential, images, identified)
        marks = dict(document.images)
        faults = [identified] if isinstance(identified, Fault) else []
        for fault in () if isinstance(found, Inspected) else found:
            mark = marks.get(fault.depiction, (document.line, 1))
            faults.append(_fault(document, mark, fault.message, fault.hint))
        return faults

    def _forbidden(self, document: Document, request: VerificationRequest) -> Iterator[Fault]:
        capture, allowed = request.spec.capture, self._rules.redirect_hosts
        if capture is not None and allowed and capture.redirect_host not in allowed:
            message = "spec.capture.redirectUrl leads to a host that is not in REDIRECT_HOSTS"
            yield _fault(document, (document.line, 1), message, "use an allowed host, or allow this one")

    # -- what is absent --------------------------------------------------------------------------------------

    async def _withdraw(self, seen: Scan) -> tuple[frozenset[str], int]:
        """Withdraw what was absent twice. Names that were absent once, and the number that wait for a person."""
        assert self._present is not None
        if seen.error is not None or not seen.complete or seen.unsettled:
            self._absent = frozenset()
            return frozenset(), 0
        gone = self._present.keys() - seen.documents.keys() - seen.claimed
        records = {name: self._store.get(self._present[name]) for name in gone}
        absent = {
            name: record
            for name, record in records.items()
            if record is not None and record.desired.file not in seen.broken_files
        }
        confirmed = {name: record for name, record in absent.items() if name in self._absent}
        once = frozenset(absent) - self._absent
        self._absent = frozenset(absent)
        await self._trust(seen.root, everything=not absent)
        open_ones = [record for record in confirmed.values() if record.outcome is None]
        if open_ones and not self._may_withdraw(len(open_ones), seen):
            confirmed = {name: record for name, record in confirmed.items() if record.outcome is not None}
            waiting = len(open_ones)
        else:
            waiting = 0
        if waiting or not absent:
            await self._remember_waiting(waiting > 0)
        now = self._clock.now()
        if confirmed:
            await self._records.tell({record.uid: DocumentRemoved(at=now) for record in confirmed.values()})
        for name in confirmed:
            del self._present[name]
            self._followed.pop(name, None)
        self._absent -= confirmed.keys()
        for name in absent.keys() - confirmed.keys():
            self._followed.pop(name, None)  # when it is back, it is looked at again
        return once, waiting

    def _may_withdraw(self, wanted: int, seen: Scan) -> bool:
        assert self._present is not None
        swapped = (
            seen.root is not None
            and self._root is not None
            and seen.root.path == self._root.path
            and seen.root != self._root
        )
        if self._approved():
            return True
        if not seen.files or swapped:
            return False
        recent = self._store.withdrawn_since(self._clock.now() - 3600.0)
        return withdrawals_allowed(wanted, recent, len(self._present))

    async def _trust(self, root: Root | None, everything: bool) -> None:
        """Remember the folder in which everything was there, over restarts: another one withdraws nothing by itself."""
        if self._root is None and (kept := self._store.recall(_TRUSTED)):
            path, device, inode = kept.rsplit(" ", 2)
            self._root = Root(path, int(device), int(inode))
        if root is not None and root != self._root and (everything or self._root is None):
            self._root = root
            await self._store.remember(_TRUSTED, f"{root.path} {root.device} {root.inode}")

    def _approved(self) -> bool:
        """A person's word holds for what was waiting when it was given."""
        approved, since = self._store.recall("approved"), self._store.recall(_WAITING_SINCE)
        return bool(approved and since) and float(approved or 0) >= float(since or 0)

    async def _remember_waiting(self, waiting: bool) -> None:
        """Since when withdrawals wait: an approval holds when it was given later."""
        known = bool(self._store.recall(_WAITING_SINCE))
        if waiting != known:
            await self._store.remember(_WAITING_SINCE, str(self._clock.now()) if waiting else "")

    async def _note(self, synced: Synced) -> None:
        refusals = None if synced.refusals == self._refusals else synced.refusals
        rows = None if refusals is None else [(f.file, f.line, f.column, f.message, f.hint, f.name) for f in refusals]
        self._refusals = synced.refusals
        await self._store.scanned(
            self._rules.source, self._clock.now(), synced.files, synced.complete, synced.waiting, rows
        )
        self._synced(synced)


def _signed(desired: Desired, origin: Origin | None) -> Desired:
    if origin is None:
        return desired
    return replace(desired, commit=origin.commit, dirty=origin.dirty, author=origin.author)


def _fault(document: Document, mark: tuple[int, int], message: str, hint: str) -> Fault:
    return Fault(file=document.file, line=mark[0], column=mark[1], message=message, hint=hint, name=document.name)


def _document_key(request: VerificationRequest) -> DocumentKey | None:
    kind = request.spec.upload.document_type if request.spec.upload is not None else None
    return None if kind is None else DocumentKey(kind.country, kind.type)


def _document_id(request: VerificationRequest) -> int | None:
    return request.spec.upload.document_id if request.spec.upload is not None else None


def _identified(document: Document, wanted: DocumentKey, found: Resolution | None) -> int | Fault:
    """The id of the document type, or why there is none."""
    if found is not None and not isinstance(found, Unresolved):
        return found.id
    if found is None:
        message = "the list of document types cannot be had from Assure now"
        hint = "wait, it is looked at again at each scan; or use documentId"
    else:
        message, hint = explain(wanted, found)
    assert document.type_at is not None
    return _fault(document, document.type_at, f"spec.upload.documentType: {message}", hint)


def _desired(
    request: VerificationRequest,
    document: Document,
    digest: str,
    essential: str,
    images: tuple[ImageRef, ...],
    document_id: int | None,
) -> Desired:
    spec = request.spec
    capture = spec.capture
    return Desired(
        digest=digest,
        essence=essential,
        process_type=spec.process_type,
        document_id=document_id,
        document_type=_document_key(request),
        images=images,
        read_back=spec.upload.read_back if spec.upload is not None else False,
        capture=None
        if capture is None
        else CaptureOptions(
            process_type=spec.process_type,
            redirect_url=capture.redirect_url,
            ui_profile=capture.ui_profile,
            language=capture.language,
            default_country=capture.default_country,
            request_domain=capture.request_domain,
        ),
        deadline=spec.deadline,
        retention=spec.retention,
        suspend=spec.suspend,
        rerun=request.rerun_token,
        labels=tuple(sorted(request.metadata.labels.items())),
        file=document.file,
        line=document.line,
    )
