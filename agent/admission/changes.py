"""What documents come to for the records that we have: who is admitted, who is told what, who is refused. Blocking."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from agent.admission.adoption import refuse_adoption
from agent.admission.desired import Digests, Found, Resolved, Rules, fault_in, in_place, wanted
from agent.core.admission import Remark, RemarkKind, Verdict, begins, judge, parsed_answer
from agent.core.assure_types import DocumentKey
from agent.core.errors import AgentError
from agent.core.field_types import RESOLVE
from agent.core.observations import Answer, DocumentChanged, DocumentReturned, HoldResolved, Observation
from agent.core.record import Desired, Record
from agent.core.request import VerificationRequest, essence
from agent.ports import Clock, Store
from agent.source.diagnostics import Fault
from agent.source.git_provenance import Origin, Visit
from agent.source.loader import Document


class Salt(Protocol):
    """What makes uids and digests ours."""

    def uid(self, source: str, name: str) -> str:
        """The uid of a request."""

    def digest(self, content: bytes) -> str:
        """A salted digest."""


@dataclass(slots=True)
class News:
    """What some documents come to."""

    admitted: list[Record] = field(default_factory=list)
    told: dict[str, Observation] = field(default_factory=dict)  # by uid
    faults: list[Fault] = field(default_factory=list)
    present: dict[str, str] = field(default_factory=dict)  # name -> uid of what is there
    followed: list[Document] = field(default_factory=list)  # nothing follows from them
    strays: list[tuple[Remark, Document]] = field(default_factory=list)  # files that answer no open hold
    later: list[Document] = field(default_factory=list)  # their document type has to be looked up first
    wanted: set[DocumentKey] = field(default_factory=set)


@dataclass(slots=True)
class _One:
    """A document that has something new, and what it asks for."""

    document: Document
    uid: str
    record: Record | None
    verdict: Verdict
    desired: Desired


class Reporter:
    """Looks at documents beside what is on file."""

    def __init__(self, rules: Rules, store: Store, salt: Salt, clock: Clock) -> None:
        self._rules, self._store, self._salt, self._clock = rules, store, salt, clock

    def news(self, documents: Iterable[Document], resolved: Resolved, visit: Visit | None) -> News:
        """What these documents come to; `resolved` says what document types mean, `visit` where files come from."""
        news = News()
        ones = [one for document in documents if (one := self._one(document, resolved, news)) is not None]
        origins = visit.about({one.document.file for one in ones}) if visit is not None and ones else {}
        for one in ones:
            news.present[one.document.name] = one.uid
            desired = _signed(one.desired, origins.get(one.document.file))
            if one.record is None:
                news.admitted.append(self._record(one.uid, one.document.name, desired))
                if not _answers(one.document):
                    news.followed.append(one.document)
            else:
                kind = DocumentChanged if one.verdict is Verdict.CHANGED else DocumentReturned
                news.told[one.uid] = kind(at=self._clock.now(), desired=desired, name=one.document.name)
        return news

    def afresh(self, document: Document, resolved: Resolved) -> Found:
        """What a document asks for, as if nothing were known of its name."""
        request = document.request
        return self._desired(document, request, self._digests(document, request), None, Verdict.ADMIT, resolved)

    def _one(self, document: Document, resolved: Resolved, news: News) -> _One | None:
        """What has to be admitted or told; None when there is nothing, or something else is said in `news`."""
        uid = self._salt.uid(self._rules.source, document.name)
        record = self._store.get(uid)
        answered = self._answered(record, document, resolved, news)
        if isinstance(answered, HoldResolved):
            news.told[uid] = answered
            return None
        if answered is not None:
            _put_off(document, answered, news)
            return None
        request = document.request
        digests = self._digests(document, request)
        verdict = judge(record, digests.whole, digests.essence, document.file, request.rerun_token)
        if verdict is Verdict.FOLLOWED:
            news.followed.append(document)
            news.present[document.name] = uid
            return None
        found = self._desired(document, request, digests, record, verdict, resolved)
        if isinstance(found, Desired):
            return _One(document, uid, record, verdict, found)
        _put_off(document, found, news)
        return None

    def _answered(
        self, record: Record | None, document: Document, resolved: Resolved, news: News
    ) -> HoldResolved | DocumentKey | list[Fault] | None:
        """The answer to the open hold that stands in the file; an answer to any other is ignored, and counted."""
        if record is None or not _answers(document):
            return None
        text = document.request.resolve_answer
        if text is None or record.hold is None:
            return None
        answer, asks = parsed_answer(text), record.hold.reason.about_document
        if answer is None or answer[2] != record.hold.id or (asks and answer[0] is Answer.ADOPT):
            about = answer[2] if answer is not None else ""
            news.strays.append((Remark(uid=record.uid, kind=RemarkKind.STRAY_ANSWER, about=about), document))
            return None
        if answer[0] is Answer.ADOPT and (fault := self._unfit(record, document, answer[1], news)) is not None:
            return [fault]
        desired = None
        if asks and answer[0] is Answer.RETRY:
            found = self.afresh(document, resolved)
            if not isinstance(found, Desired):
                return found  # a type to look up first; or faults: it is obeyed once they are mended
            desired = found
        return HoldResolved(
            at=self._clock.now(), hold_id=answer[2], answer=answer[0], dossier_id=answer[1], desired=desired
        )

    def _unfit(self, record: Record, document: Document, dossier_id: str | None, news: News) -> Fault | None:
        """Why this dossier may not be adopted; two files may name one at once."""
        taken = {told.dossier_id for told in news.told.values() if isinstance(told, HoldResolved)}
        try:
            refuse_adoption(self._store, record, dossier_id, taken)
        except AgentError as error:
            return fault_in(document, (document.line, 1), f"metadata.annotations.{RESOLVE}: {error}", error.hint)
        return None

    def _desired(
        self,
        document: Document,
        request: VerificationRequest,
        digests: Digests,
        record: Record | None,
        verdict: Verdict,
        resolved: Resolved,
    ) -> Found:
        if begins(record, verdict, digests.essence, request.rerun_token):
            return wanted(document, request, digests, self._rules, resolved)
        assert record is not None
        return in_place(document, request, digests, self._rules, record.desired)

    def _digests(self, document: Document, request: VerificationRequest) -> Digests:
        return Digests(self._salt.digest(document.canonical), self._salt.digest(essence(request)))

    def _record(self, uid: str, name: str, desired: Desired) -> Record:
        return Record(uid=uid, name=name, source=self._rules.source, agent=self._rules.agent_id, desired=desired)


def _answers(document: Document) -> bool:
    """May it answer a hold? Cheap, and rather yes than no."""
    return RESOLVE.encode() in document.canonical


def _put_off(document: Document, why: DocumentKey | list[Fault], news: News) -> None:
    if isinstance(why, DocumentKey):
        news.later.append(document)
        news.wanted.add(why)
    else:
        news.faults += why


def _signed(desired: Desired, origin: Origin | None) -> Desired:
    if origin is None:
        return desired
    return replace(desired, commit=origin.commit, dirty=origin.dirty, author=origin.asked_by)
