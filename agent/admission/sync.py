"""One scan of the source, and the changes to the records that follow from it.

A request is withdrawn only if its name was in no file at two complete scans in a row. The prune guard stops too many
withdrawals at once until an operator approves them. A file that is refused keeps its last admitted generation.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import islice

from agent.admission.changes import DocumentDiffer, signature_fault, with_provenance
from agent.admission.desired import AdmissionRules, KnownTypes, WantedType
from agent.admission.prune_guard import PruneGuard
from agent.admission.request_source import ProvenanceQuery, RequestSource
from agent.admission.source_turn import SourceTurn
from agent.admission.sync_result import SyncResult
from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.assure_types import DocumentKey
from agent.core.errors import AgentError
from agent.core.observations import DocumentRemoved
from agent.core.record import Desired, Record
from agent.platform.callbacks import isolated
from agent.ports import AdmissionStore, Clock, DocumentTypes, IdentityKey, RecordPort
from agent.source.diagnostics import Fault
from agent.source.folder import Scan
from agent.source.git_provenance import Provenance
from agent.source.loader import Document

_FETCH_PATIENCE = 20.0  # seconds that a command waits for a fetch
_CHUNK = 250  # documents per transaction: other commits run in between


class Admission:
    """Syncs the records with the source. One scan at a time."""

    def __init__(
        self,
        source: RequestSource,
        rules: AdmissionRules,
        store: AdmissionStore,
        records: RecordPort,
        salt: IdentityKey,
        types: DocumentTypes,
        clock: Clock,
        synced: Callable[[SyncResult], None] = lambda synced: None,
        turn: SourceTurn | None = None,
    ) -> None:
        """Without a `turn`, no other process scans the source."""
        self._turn = turn
        self._source = source
        self._source_name = rules.source
        self._store = store
        self._records = records
        self._types = types
        self._clock = clock
        self._synced = isolated(synced)
        self._differ = DocumentDiffer(rules, store, salt, clock)
        self._scanning = asyncio.Lock()
        self._fetching = False  # it is locked by a fetch
        self._applying = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        """Know nothing of earlier scans: none ran, or another replica has scanned since."""
        self._guard = PruneGuard(self._store, self._clock)
        self._followed: dict[str, Document] = {}  # documents from which nothing new follows, by name
        self._present: dict[str, str] | None = None  # name -> uid of the requests that have a file
        self._absent: frozenset[str] = frozenset()  # names that the last complete scan did not find
        self._strays: dict[str, tuple[ScanNote, Document]] = {}  # by uid: documents that answer no open hold
        self.unresolved = False  # at the last scan, Assure could not resolve a document type
        self.settled = False  # another scan of the same files would change nothing
        self._refusals: tuple[Fault, ...] | None = None
        self._scan_notes: frozenset[ScanNote] | None = None  # as stored
        self._waiting: frozenset[str] = frozenset()  # uids whose withdrawal waits for approval

    @property
    def doubts_absence(self) -> bool:
        """True if the last scan did not find some names that it knows, and the next one decides about them."""
        return bool(self._absent)

    async def take_turn(self) -> bool:
        """Take or keep the turn of the source. True: no other replica has it."""
        return self._turn is None or await self._turn.take()

    @property
    def stands_by(self) -> bool:
        """True if another replica had the turn of the source at the last scan, or this checkout was older."""
        return self._turn is not None and not self._turn.is_held

    async def scan(self, *, prune: bool = True, on_progress: Callable[[], None] | None = None) -> SyncResult | None:
        """Scan once, and admit, change, withdraw or refuse requests. None: another replica has the turn.

        Without `prune` the scan withdraws nothing. A scan after a file-system event comes at any time. Therefore it is
        not one of the two scans that prove an absence.

        With `on_progress`, the scan admits requests while it reads a folder, and calls it if there are many of them.
        """
        async with self._scanning:
            if self._turn is not None and not await self._turn.hold():
                self._forget()  # so that a take-over withdraws nothing before two scans of its own
                return None
            if self._present is None:
                self._present = await self._store.present(self._source_name)
            self.unresolved = self.settled = False
            seen = await (self._scan_gradually(on_progress) if on_progress else asyncio.to_thread(self._source.scan))
            faults = list(seen.faults)
            fresh = await asyncio.to_thread(self._select_new, seen)
            query = self._source.query({document.file for document in fresh})
            remaining = iter(fresh)
            while chunk := list(islice(remaining, _CHUNK)):
                async with self._applying:
                    faults += await self._apply(chunk, query)
            missing = await self._missing(seen, dict(self._present)) if prune and seen.proves_absence else {}
            async with self._applying:
                once: frozenset[str] = frozenset()
                if prune:
                    once, self._waiting = await self._withdraw(seen, missing)
                self._absent = frozenset(filter(seen.lacks, self._absent)) if seen.complete else frozenset()
                synced = self._result(seen, faults, len(once))
                now, counts = self._clock.now(), (seen.files, seen.complete, synced.waiting)
                rows, acted = self._changed_rows(synced), seen.revision if seen.error is None else None
                await self._store.record_scan(self._source_name, now, *counts, *rows, revision=acted)
                self.settled = self._leaves_nothing(seen, fresh)
                self._synced(synced)
            if seen.error is not None and self._turn is not None and self._turn.shared:
                await self._turn.release()  # perhaps another replica can read the source
                self._forget()
            return synced

    async def _scan_gradually(self, on_progress: Callable[[], None]) -> Scan:
        """Scan, and admit documents with unique names meanwhile.

        A document that is refused here is not followed, so that the end of the scan refuses it again.
        """
        steps, first = self._source.scan_gradually(), True
        query: ProvenanceQuery | None = None
        while not isinstance(step := await asyncio.to_thread(next, steps), Scan):
            if query is None:
                query = self._source.query(self._source.surveyed)
            if not first:
                on_progress()
            first = False
            async with self._applying:
                await self._apply(step, query)
        return step

    def exclusive(self) -> AbstractAsyncContextManager[object]:
        """A lock under which no document is admitted: an image is read before it is entered or after it is left."""
        return self._applying

    @asynccontextmanager
    async def unread(self) -> AsyncIterator[None]:
        """A lock under which the source is not read, so that another revision of it can be fetched and published."""
        async with self._scanning:
            self._fetching = True
            try:
                yield
            finally:
                self._fetching = False

    def _leaves_nothing(self, seen: Scan, fresh: Sequence[Document]) -> bool:
        """True if another scan of the same files would change nothing. `fresh` are the documents of this scan."""
        waits = self._absent or self.unresolved  # a withdrawal that waits for approval is absent as well
        return seen.proves_absence and not waits and all(self._followed.get(one.name) is one for one in fresh)

    def _select_new(self, seen: Scan) -> list[Document]:
        """Documents that are new or changed; at the end those that may wait for Assure's document types. Blocking."""
        self._strays = {
            uid: stray for uid, stray in self._strays.items() if seen.documents.get(stray[1].name) is stray[1]
        }
        fresh = [document for name, document in seen.documents.items() if self._followed.get(name) is not document]
        return sorted(fresh, key=lambda document: document.type_at is not None)

    async def find_document(self, name: str, rerun: str | None) -> Desired:
        """The document of this name as it is in the source now; with `rerun` it has this rerun token.

        Raises AgentError if the source has no valid document of this name, or the agent would refuse it. Raises it as
        well if a fetch of the source takes long.
        """
        async with self._readable():
            document = (await asyncio.to_thread(self._source.scan)).documents.get(name)
            if document is None:
                raise AgentError(
                    f"The source has no valid request named {name}.",
                    "add the request file, or correct it: `assure-agent validate` shows its faults",
                )
            types = KnownTypes(await self._types.listed_ids())
            desired = await asyncio.to_thread(self._differ.desired_for_new, document, types)
            if isinstance(desired, WantedType):
                types = replace(types, resolved={desired: await self._types.resolve(desired)})
                desired = await asyncio.to_thread(self._differ.desired_for_new, document, types)
            assert not isinstance(desired, WantedType)
            if not isinstance(desired, Desired):
                raise AgentError(f"{desired[0]}.", desired[0].hint)
            origin = await asyncio.to_thread(self._origin, document.file)
            if (fault := signature_fault(document, origin)) is not None:
                raise AgentError(f"{fault}.", fault.hint)
            return replace(with_provenance(desired, origin), rerun=rerun or desired.rerun)

    @asynccontextmanager
    async def _readable(self) -> AsyncIterator[None]:
        """Wait until the source can be read, and hold the lock. A server that hangs must not make a command hang."""
        try:
            async with asyncio.timeout(_FETCH_PATIENCE if self._fetching else None):
                await self._scanning.acquire()
        except TimeoutError:
            raise AgentError(
                "The agent is fetching the source, and the git server does not answer.",
                "send the command again in a few minutes; `assure-agent doctor` examines the server",
            ) from None
        try:
            yield
        finally:
            self._scanning.release()

    def _origin(self, file: str) -> Provenance | None:
        """The provenance of one file. Blocking."""
        query = self._source.query({file})
        return query.provenance({file}).get(file) if query is not None else None

    async def _apply(
        self, documents: Sequence[Document], query: ProvenanceQuery | None, types: KnownTypes | None = None
    ) -> list[Fault]:
        """Admit and change what follows from these documents. Returns the faults of those that are refused."""
        assert self._present is not None
        types = types or KnownTypes(await self._types.listed_ids())
        stored = await self._differ.stored(documents)
        changes = await asyncio.to_thread(self._differ.diff, documents, stored, types, query)
        self._present |= changes.present
        self._followed |= {document.name: document for document in changes.followed}
        self._strays |= {note.uid: (note, document) for note, document in changes.strays}
        if changes.admitted:
            await self._records.admit(changes.admitted)
        if changes.observations:
            await self._records.deliver(changes.observations)
        if changes.unresolved:
            found = {wanted: await self._types.resolve(wanted) for wanted in sorted(changes.unresolved_types, key=str)}
            waits = any(found[wanted] is None for wanted in found if isinstance(wanted, DocumentKey))
            self.unresolved = self.unresolved or waits
            changes.faults += await self._apply(changes.unresolved, query, replace(types, resolved=found))
        return changes.faults

    def _result(self, seen: Scan, faults: list[Fault], absent: int) -> SyncResult:
        waits = {ScanNote(uid=uid, kind=ScanNoteKind.WITHDRAWAL_WAITS) for uid in self._waiting}
        return SyncResult(
            scan=seen,
            refusals=tuple(faults),
            waiting=len(self._waiting),
            absent=absent,
            scan_notes=frozenset(note for note, _ in self._strays.values()) | waits,
        )

    def _changed_rows(
        self, synced: SyncResult
    ) -> tuple[list[tuple[str, int, int, str, str, str | None]] | None, frozenset[ScanNote] | None]:
        """The refusals and the scan notes to store; None for each that did not change since the last scan."""
        rows = notes = None
        if synced.refusals != self._refusals:
            rows = [(f.file, f.line, f.column, f.message, f.hint, f.name) for f in synced.refusals]
        if synced.scan_notes != self._scan_notes:
            notes = synced.scan_notes
        self._refusals, self._scan_notes = synced.refusals, synced.scan_notes
        return rows, notes

    async def _withdraw(self, seen: Scan, missing: dict[str, Record]) -> tuple[frozenset[str], frozenset[str]]:
        """Withdraw requests that were absent twice.

        Returns the names that were absent for the first time, and the uids whose withdrawal waits for approval.
        """
        assert self._present is not None
        if not seen.proves_absence:
            self._absent = frozenset()
            return frozenset(), frozenset()
        confirmed = {name: record for name, record in missing.items() if name in self._absent}
        once = frozenset(missing) - self._absent
        self._absent = frozenset(missing)
        await self._guard.trust(seen.root, everything=not missing)
        open_ones = [record for record in confirmed.values() if record.outcome is None]
        waiting: frozenset[str] = frozenset()
        if open_ones and not await self._guard.allows(len(open_ones), seen, len(self._present)):
            confirmed = {name: record for name, record in confirmed.items() if record.outcome is not None}
            waiting = frozenset(record.uid for record in open_ones)
        if waiting or not missing:
            await self._guard.remember_waiting(bool(waiting))
        if confirmed:
            now = self._clock.now()
            removed = {record.uid: DocumentRemoved(at=now) for record in confirmed.values()}
            declined = await self._records.deliver(removed)
            confirmed = {name: record for name, record in confirmed.items() if record.uid not in declined}
        for name in confirmed:
            del self._present[name]
        for name in missing:
            self._followed.pop(name, None)  # a file that returns is compared with its record again
        self._absent -= confirmed.keys()
        return once, waiting

    async def _missing(self, seen: Scan, present: Mapping[str, str]) -> dict[str, Record]:
        """Requests whose name is in no file; a name from a file that could not be read is not missing."""
        lacking = await asyncio.to_thread(lambda: [item for item in present.items() if seen.lacks(item[0])])
        missing: dict[str, Record] = {}
        for first in range(0, len(lacking), _CHUNK):
            chunk = lacking[first : first + _CHUNK]
            records = await self._store.get_many([uid for _, uid in chunk])
            known = [(name, records[uid]) for name, uid in chunk if uid in records]
            missing |= {name: record for name, record in known if not seen.may_hold(record.desired.file)}
            await asyncio.sleep(0)  # other tasks run in between
        return missing
