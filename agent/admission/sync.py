"""Scans and looks: what they see is brought to the records.

A scan is the truth, whole or not at all for what is absent: a request is withdrawn only when its name was in no file at
two complete scans in a row, and never many at once without approval. A file that is there but refused keeps the
last good generation. A look at some files admits what is good in them and leaves all else to a scan.

A scan of a large folder takes a second or more. It goes in slices, and looks go between them, so that who writes a file
meanwhile does not wait. What was looked at since a scan began is newer than what that scan saw: it is left alone until
the next one.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from agent.admission.changes import DocumentDiffer, IdentityKey
from agent.admission.desired import AdmissionRules, Resolved
from agent.admission.prune_guard import PruneGuard
from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.assure_types import DocumentKey
from agent.core.errors import AgentError
from agent.core.observations import DocumentRemoved, Observation
from agent.core.record import Desired, Record
from agent.platform.callbacks import isolated
from agent.ports import Clock, DocumentTypes, Store
from agent.source.diagnostics import Fault
from agent.source.folder import Folder, Scan
from agent.source.git_provenance import GitCheckout, GitQuery
from agent.source.loader import Document

_CHUNK = 250  # documents per transaction: looks and other commits go between


class RecordPort(Protocol):
    """Who keeps the records: the reconciler, or the store alone while no agent runs."""

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests, in one transaction."""

    async def deliver(self, observations: Mapping[str, Observation]) -> None:
        """Let records know of something, by uid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What came of one scan."""

    files: int
    refusals: tuple[Fault, ...]
    waiting: int  # withdrawals that wait for approval
    unsettled: bool  # something is being written: scan again soon
    absent: int  # names that are gone since this scan: the next one decides
    complete: bool
    scan_notes: frozenset[ScanNote] = frozenset()
    exposed: tuple[Fault, ...] = ()  # files and folders that others could change
    error: Fault | None = None
    passed_over: tuple[str, ...] = ()  # files that were probably meant to be request files

    @property
    def strays(self) -> frozenset[ScanNote]:
        """Requests whose `assure-agent/resolve` answers no open hold."""
        return frozenset(remark for remark in self.scan_notes if remark.kind is ScanNoteKind.STRAY_ANSWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchResult:
    """What a look left open."""

    unsettled: frozenset[str] = frozenset()  # files that are being written: look again soon
    needs_full_scan: bool = False  # only a scan can tell: faults, shared names


class Admission:
    """Keeps the records in step with a folder. One scan at a time."""

    def __init__(
        self,
        folder: Folder,
        rules: AdmissionRules,
        store: Store,
        records: RecordPort,
        salt: IdentityKey,
        types: DocumentTypes,
        clock: Clock,
        synced: Callable[[SyncResult], None] = lambda synced: None,
        checkout: GitCheckout | None = None,
    ) -> None:
        self._folder = folder
        self._source = rules.source
        self._store = store
        self._records = records
        self._types = types
        self._clock = clock
        self._synced = isolated(synced)
        self._checkout = checkout
        self._differ = DocumentDiffer(rules, store, salt, clock)
        self._guard = PruneGuard(store, clock)
        self._followed: dict[str, Document] = {}  # documents that need no second look, by name
        self._present: dict[str, str] | None = None  # name -> uid of what was there
        self._absent: frozenset[str] = frozenset()  # names missing from the last complete scan
        self._synced_during_scan: set[str] = set()  # names that were looked at since the last scan began
        self._strays: dict[str, tuple[ScanNote, Document]] = {}  # by uid: what answers no open hold
        self.unanswered = False  # since the last scan began: Assure could not say now what some document means
        self._refusals: tuple[Fault, ...] | None = None
        self._scan_notes: frozenset[ScanNote] | None = None  # as noted
        self._waiting: frozenset[str] = frozenset()  # uids whose withdrawal waits for approval
        self._scanning = asyncio.Lock()
        self._lock = asyncio.Lock()  # taken for each slice of a scan and each part of a look

    async def scan(self, hinted: bool = False) -> SyncResult:
        """Scan once, and admit, change, withdraw or refuse what follows from it.

        A scan for a hint comes at any time, so it is none of the two that prove an absence: it withdraws nothing.
        """
        async with self._scanning:
            if self._present is None:
                self._present = self._store.present(self._source)
            self._synced_during_scan = set()
            self.unanswered = False
            seen = await self._scan_folder()
            faults = list(seen.faults)
            kept = self._strays.items()
            self._strays = {uid: one for uid, one in kept if seen.documents.get(one[1].name) is one[1]}
            fresh = [document for name, document in seen.documents.items() if self._followed.get(name) is not document]
            visit = self._visit({document.file for document in fresh})
            news = iter(sorted(fresh, key=lambda document: document.type_at is not None))  # those may wait for Assure
            while chunk := list(islice(news, _CHUNK)):
                async with self._lock:
                    faults += await self._apply(
                        [one for one in chunk if one.name not in self._synced_during_scan], visit
                    )
            present = dict(self._present)
            missing = {} if hinted else await asyncio.to_thread(self._missing, seen, present)
            async with self._lock:
                return await self._finish_scan(seen, faults, missing, hinted)

    def exclusive(self) -> AbstractAsyncContextManager[object]:
        """While this is entered no document is admitted: each looks at its images and is on file, or neither."""
        return self._lock

    async def find_document(self, name: str, rerun: str | None) -> Desired:
        """The document of this name as it is in the source now, asking for a rerun if a token is given.

        Raises AgentError when it is not there, or would be refused.
        """
        async with self._scanning:
            document = (await self._scan_folder()).documents.get(name)
            if document is None:
                raise AgentError(f"There is no good document named {name} in the source.", "put it there, or mend it")
            desired = await asyncio.to_thread(self._differ.desired_for_new, document, {})
            if isinstance(desired, DocumentKey):
                found = {desired: await self._types.resolve(desired)}
                desired = await asyncio.to_thread(self._differ.desired_for_new, document, found)
            assert not isinstance(desired, DocumentKey)
            if not isinstance(desired, Desired):
                raise AgentError(f"{desired[0]}.", desired[0].hint)
            return replace(desired, rerun=rerun) if rerun is not None else desired

    async def sync_files(self, files: Collection[str]) -> WatchResult:
        """Admit or change what is good in these files, paths below the folder. Withdraws and refuses nothing."""
        unsettled: frozenset[str] = frozenset()
        left = False
        remaining = iter(files)
        visit = self._visit(files)
        while chunk := list(islice(remaining, _CHUNK)):
            async with self._lock:
                if self._present is None:
                    return WatchResult(needs_full_scan=True)
                seen = await asyncio.to_thread(self._folder.read_files, chunk)
                names = {document.name for document in seen.documents}
                self._synced_during_scan |= names
                faults = await self._apply(seen.documents, visit)
                self._absent -= names
            unsettled |= seen.unsettled
            left = left or seen.needs_full_scan or bool(faults)
        return WatchResult(unsettled=unsettled, needs_full_scan=left)

    def _visit(self, files: Collection[str]) -> GitQuery | None:
        return self._checkout.query(files) if self._checkout is not None else None

    async def _scan_folder(self) -> Scan:
        """What a scan sees; looks may come between its slices."""
        slices = self._folder.slices()
        while True:
            async with self._lock:
                seen = await asyncio.to_thread(next, slices)
            if seen is not None:
                return seen

    async def _apply(
        self, documents: Sequence[Document], visit: GitQuery | None, resolved: Resolved | None = None
    ) -> list[Fault]:
        """Bring these documents to the records. What is wrong with them."""
        assert self._present is not None
        news = await asyncio.to_thread(self._differ.diff, documents, resolved or {}, visit)
        self._present |= news.present
        self._followed |= {document.name: document for document in news.followed}
        self._strays |= {remark.uid: (remark, document) for remark, document in news.strays}
        if news.admitted:
            await self._records.admit(news.admitted)
        if news.observations:
            await self._records.deliver(news.observations)
        if news.unresolved:
            found = {wanted: await self._types.resolve(wanted) for wanted in sorted(news.unresolved_types)}
            self.unanswered = self.unanswered or None in found.values()
            news.faults += await self._apply(news.unresolved, visit, found)
        return news.faults

    async def _finish_scan(
        self, seen: Scan, faults: list[Fault], missing: dict[str, Record], hinted: bool
    ) -> SyncResult:
        """Withdraw what is missing, and note what a scan saw."""
        once, self._waiting = (frozenset(), self._waiting) if hinted else await self._withdraw(seen, missing)
        self._absent = self._absent - seen.documents.keys() - seen.claimed if seen.complete else frozenset()
        synced = SyncResult(
            files=seen.files,
            refusals=tuple(faults),
            waiting=len(self._waiting),
            unsettled=seen.unsettled,
            absent=len(once),
            complete=seen.complete,
            scan_notes=frozenset(remark for remark, _ in self._strays.values())
            | {ScanNote(uid=uid, kind=ScanNoteKind.WITHDRAWAL_WAITS) for uid in self._waiting},
            exposed=seen.exposed,
            error=seen.error,
            passed_over=seen.passed_over,
        )
        await self._report(synced)
        return synced

    async def _withdraw(self, seen: Scan, missing: dict[str, Record]) -> tuple[frozenset[str], frozenset[str]]:
        """Withdraw what was absent twice. Names that were absent once, and uids that wait for a person."""
        assert self._present is not None
        if seen.error is not None or not seen.complete or seen.unsettled:
            self._absent = frozenset()
            return frozenset(), frozenset()
        absent = {name: record for name, record in missing.items() if name not in self._synced_during_scan}
        confirmed = {name: record for name, record in absent.items() if name in self._absent}
        once = frozenset(absent) - self._absent
        self._absent = frozenset(absent)
        await self._guard.trust(seen.root, everything=not absent)
        open_ones = [record for record in confirmed.values() if record.outcome is None]
        waiting: frozenset[str] = frozenset()
        if open_ones and not await self._guard.allows(len(open_ones), seen, len(self._present)):
            confirmed = {name: record for name, record in confirmed.items() if record.outcome is not None}
            waiting = frozenset(record.uid for record in open_ones)
        if waiting or not absent:
            await self._guard.remember_waiting(bool(waiting))
        if confirmed:
            now = self._clock.now()
            await self._records.deliver({record.uid: DocumentRemoved(at=now) for record in confirmed.values()})
        for name in confirmed:
            del self._present[name]
        for name in absent:
            self._followed.pop(name, None)  # when it is back, it is looked at again
        self._absent -= confirmed.keys()
        return once, waiting

    def _missing(self, seen: Scan, present: Mapping[str, str]) -> dict[str, Record]:
        """What was there, and is in no file now; what is in a file that could not be read counts as there. Blocking.

        Many may be missing and wait for approval. Partial reads continue meanwhile.
        """
        if seen.error is not None or not seen.complete or seen.unsettled:
            return {}
        gone = present.keys() - seen.documents.keys() - seen.claimed
        records = ((name, self._store.get(present[name])) for name in gone)
        return {
            name: record for name, record in records if record is not None and not seen.may_hold(record.desired.file)
        }

    async def _report(self, synced: SyncResult) -> None:
        refusals = None if synced.refusals == self._refusals else synced.refusals
        rows = None if refusals is None else [(f.file, f.line, f.column, f.message, f.hint, f.name) for f in refusals]
        remarks = None if synced.scan_notes == self._scan_notes else synced.scan_notes
        self._refusals, self._scan_notes = synced.refusals, synced.scan_notes
        now, counts = self._clock.now(), (synced.files, synced.complete, synced.waiting)
        await self._store.record_scan(self._source, now, *counts, rows, remarks)
        self._synced(synced)
