"""Compare documents with their records: new requests, changes to deliver, and refusals."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.admission.adoption import DossierUse, refuse_adoption
from agent.admission.desired import (
    AdmissionRules,
    DesiredResult,
    Digests,
    KnownTypes,
    WantedType,
    build_desired,
    build_desired_in_place,
    desired_as_written,
    fault_in,
)
from agent.admission.request_source import ProvenanceQuery
from agent.core.admission import DocumentVerdict, ScanNote, ScanNoteKind, judge, may_start_generation, parsed_answer
from agent.core.errors import AgentError
from agent.core.field_types import RERUN, RESOLVE
from agent.core.observations import DocumentChanged, DocumentReturned, HoldResolved, Observation
from agent.core.record import Desired, HoldAnswer, Record
from agent.core.request import essence
from agent.ports import AdmissionStore, Clock, IdentityKey
from agent.source.diagnostics import Fault
from agent.source.git_provenance import Provenance
from agent.source.loader import Document
from agent.views.revisions import unsigned_document


@dataclass(slots=True)
class DocumentChanges:
    """The changes that follow from some documents."""

    admitted: list[Record] = field(default_factory=list)
    observations: dict[str, Observation] = field(default_factory=dict)  # by uid
    faults: list[Fault] = field(default_factory=list)
    present: dict[str, str] = field(default_factory=dict)  # name -> uid of requests that have a file
    followed: list[Document] = field(default_factory=list)  # their records are up to date
    strays: list[tuple[ScanNote, Document]] = field(default_factory=list)  # documents that answer no open hold
    unresolved: list[Document] = field(default_factory=list)  # their document type must be resolved first
    unresolved_types: set[WantedType] = field(default_factory=set)


@dataclass(slots=True)
class _PendingDocument:
    """A document that differs from its record, and its desired state."""

    document: Document
    uid: str
    record: Record | None
    verdict: DocumentVerdict
    desired: Desired


@dataclass(frozen=True, slots=True)
class StoredState:
    """The records of some documents by uid, and the use of the dossiers that they name."""

    records: Mapping[str, Record]
    use: DossierUse


class DocumentDiffer:
    """Compares documents with the stored records."""

    def __init__(self, rules: AdmissionRules, store: AdmissionStore, salt: IdentityKey, clock: Clock) -> None:
        self._rules, self._store, self._salt, self._clock = rules, store, salt, clock

    async def stored(self, documents: Sequence[Document]) -> StoredState:
        """Read what `diff` needs of the store."""
        records = await self._store.get_many([self._salt.uid(self._rules.source, one.name) for one in documents])
        answering = [document for document in documents if _may_have(document, RESOLVE)]
        named = await asyncio.to_thread(_named_dossiers, answering) if answering else set()
        return StoredState(records, await DossierUse.read(self._store, named))

    def diff(
        self, documents: Iterable[Document], stored: StoredState, types: KnownTypes, query: ProvenanceQuery | None
    ) -> DocumentChanges:
        """The changes that follow from these documents. Blocking.

        `types` are Assure's document types; `query` gives the provenance of files.
        """
        changes = DocumentChanges()
        ones: list[_PendingDocument] = []
        for document in documents:
            waiting = len(changes.unresolved)
            if (one := self._diff_document(document, stored, types, query, changes)) is not None:
                ones.append(one)
            if len(changes.unresolved) == waiting:
                document.release()
        origins = query.provenance({one.document.file for one in ones}) if query is not None and ones else {}
        for one in ones:
            origin = origins.get(one.document.file)
            if (fault := signature_fault(one.document, origin)) is not None:
                changes.faults.append(fault)
                continue
            changes.present[one.document.name] = one.uid
            desired = with_provenance(one.desired, origin)
            if one.record is None:
                changes.admitted.append(self._record(one.uid, one.document.name, desired))
                if not _may_have(one.document, RESOLVE):
                    changes.followed.append(one.document)
            else:
                kind = DocumentChanged if one.verdict is DocumentVerdict.CHANGED else DocumentReturned
                changes.observations[one.uid] = kind(at=self._clock.now(), desired=desired, name=one.document.name)
        return changes

    def desired_for_new(self, document: Document, types: KnownTypes) -> DesiredResult:
        """The desired state of a document, as for a new request."""
        request = document.request
        return build_desired(document, request, self._digests(document), self._rules, types)

    def desired_as_written(self, document: Document) -> Desired:
        """The desired state as the file says it, without a read of its images."""
        return desired_as_written(document, self._digests(document))

    def _diff_document(
        self,
        document: Document,
        stored: StoredState,
        types: KnownTypes,
        query: ProvenanceQuery | None,
        changes: DocumentChanges,
    ) -> _PendingDocument | None:
        """The document if it must be admitted or delivered; None if `changes` already has what follows from it."""
        uid = self._salt.uid(self._rules.source, document.name)
        record = stored.records.get(uid)
        answered = self._hold_answer(record, document, stored.use, types, changes)
        if isinstance(answered, HoldResolved):
            origin = query.provenance({document.file}).get(document.file) if query is not None else None
            if (fault := signature_fault(document, origin)) is not None:
                changes.faults.append(fault)
                return None
            if answered.desired is not None:
                answered = replace(answered, desired=with_provenance(answered.desired, origin))
            changes.observations[uid] = answered
            return None
        if answered is not None:
            _defer(document, answered, changes)
            return None
        digests = self._digests(document)
        rerun = document.request.rerun_token if _may_have(document, RERUN) else None
        verdict = judge(record, digests.whole, digests.essence, document.file, rerun)
        if verdict is DocumentVerdict.UNCHANGED:
            changes.followed.append(document)
            changes.present[document.name] = uid
            return None
        request = document.request
        found: DesiredResult
        if record is None or may_start_generation(record, verdict, digests.essence, rerun):
            found = build_desired(document, request, digests, self._rules, types)
        else:
            found = build_desired_in_place(document, request, digests, self._rules, record.desired)
        if isinstance(found, Desired):
            return _PendingDocument(document, uid, record, verdict, found)
        _defer(document, found, changes)
        return None

    def _hold_answer(
        self, record: Record | None, document: Document, use: DossierUse, types: KnownTypes, changes: DocumentChanges
    ) -> HoldResolved | WantedType | list[Fault] | None:
        """The answer of the file to the open hold. An answer to another hold is ignored and noted."""
        if record is None or not _may_have(document, RESOLVE):
            return None
        text = document.request.resolve_answer
        if text is None or record.hold is None:
            return None
        answer, asks = parsed_answer(text), record.hold.reason.about_document
        if answer is None or answer[2] != record.hold.id or (asks and answer[0] is HoldAnswer.ADOPT):
            about = answer[2] if answer is not None else ""
            changes.strays.append((ScanNote(uid=record.uid, kind=ScanNoteKind.STRAY_ANSWER, hold_id=about), document))
            return None
        if (
            answer[0] is HoldAnswer.ADOPT
            and (fault := self._adoption_fault(record, document, use, answer[1], changes)) is not None
        ):
            return [fault]
        desired = None
        if asks and answer[0] is HoldAnswer.RETRY:
            found = self.desired_for_new(document, types)
            if not isinstance(found, Desired):
                return found  # a type to resolve first, or faults to correct before the answer applies
            desired = found
        return HoldResolved(
            at=self._clock.now(), hold_id=answer[2], answer=answer[0], dossier_id=answer[1], desired=desired
        )

    def _adoption_fault(
        self, record: Record, document: Document, use: DossierUse, dossier_id: str | None, changes: DocumentChanges
    ) -> Fault | None:
        """Why this dossier cannot be adopted. Two files of one scan may name the same dossier."""
        taken = {other.dossier_id for other in changes.observations.values() if isinstance(other, HoldResolved)}
        try:
            refuse_adoption(use, record, dossier_id, taken)
        except AgentError as error:
            return fault_in(document, (document.line, 1), f"metadata.annotations.{RESOLVE}: {error}", error.hint)
        return None

    def _digests(self, document: Document) -> Digests:
        return Digests(self._salt.digest(document.canonical), self._salt.digest(essence(document.canonical)))

    def _record(self, uid: str, name: str, desired: Desired) -> Record:
        return Record(uid=uid, name=name, source=self._rules.source, agent=self._rules.agent_id, desired=desired)


def _may_have(document: Document, annotation: str) -> bool:
    """True if the document may have this annotation. A cheap test without false negatives: it parses nothing."""
    return annotation.encode() in document.canonical


def _named_dossiers(documents: Iterable[Document]) -> set[str]:
    """The dossiers that these documents name in answers to holds. Blocking: it parses the documents."""
    answers = [parsed_answer(text) for one in documents if (text := one.request.resolve_answer) is not None]
    return {answer[1] for answer in answers if answer is not None and answer[1] is not None}


def _defer(document: Document, problem: WantedType | list[Fault], changes: DocumentChanges) -> None:
    if isinstance(problem, list):
        changes.faults += problem
    else:
        changes.unresolved.append(document)
        changes.unresolved_types.add(problem)


def signature_fault(document: Document, origin: Provenance | None) -> Fault | None:
    """Why nothing follows from a document whose last change was not signed by an allowed signer."""
    if origin is None or origin.refusal is None:
        return None
    return fault_in(document, (document.line, 1), *unsigned_document(origin.refusal, origin.file_commit))


def with_provenance(desired: Desired, origin: Provenance | None) -> Desired:
    """The desired state with the provenance of its document."""
    if origin is None:
        return desired
    return replace(desired, commit=origin.commit, dirty=origin.dirty, origin=origin.recorded)
