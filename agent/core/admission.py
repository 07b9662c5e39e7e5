"""What a document means for what we know of its name: the judgement between a scan and the records (design §4, §8).

Pure: who gathers the scan and the records is `admission.py` of the loops; `plan` judges with the same functions.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from agent.core.observations import HoldAnswer
from agent.core.record import Outcome, Record


class DocumentVerdict(StrEnum):
    """What follows from a document that is in the source."""

    ADMIT = "admit"  # a name never seen: a new request
    UNCHANGED = "followed"  # it is what we follow already
    CHANGED = "changed"  # another document than the one we follow
    RETURNED = "returned"  # the document we follow, after it was away


class ScanNoteKind(StrEnum):
    """What a scan saw of a request, and a record does not say."""

    WITHDRAWAL_WAITS = "withdrawal-waits"  # its file is gone, and so many others that a person has to approve
    STRAY_ANSWER = "stray-answer"  # `assure-agent/resolve` in its file answers no open hold


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanNote:
    """Something that people should know of a request, as of the last scan."""

    uid: str
    kind: ScanNoteKind
    hold_id: str = ""  # the hold that a stray answer names; empty: it names none


def judge(record: Record | None, digest: str, essence: str, file: str, rerun: str | None) -> DocumentVerdict:
    """What the document with this salted digest, essence and rerun token, found in this file, means."""
    if record is None:
        return DocumentVerdict.ADMIT
    question = record.hold.essence if record.hold is not None else ""
    target = record.next or record.desired
    heeded = record.next is not None or (digest != target.digest and requests_rerun(record, rerun))
    if record.present and not heeded and essence in (question, record.declined):
        return DocumentVerdict.UNCHANGED  # a person was asked about it, or has decided to leave it to a later rerun
    if digest != target.digest:
        return DocumentVerdict.CHANGED if digest != record.desired.digest else DocumentVerdict.RETURNED
    away = not record.present or bool(question)
    moved = record.next is None and record.desired.file != file and record.outcome is not Outcome.WITHDRAWN
    return DocumentVerdict.RETURNED if away or moved else DocumentVerdict.UNCHANGED


_ANSWER = re.compile(r"(?:(retry|abandon)|adopt=(.{1,200}))@(h-[0-9a-f]{6})")


def parsed_answer(text: str) -> tuple[HoldAnswer, str | None, str] | None:
    """An `assure-agent/resolve` annotation: the answer, the dossier to adopt, the hold's id; None when it is none.

    What is to be adopted may be no id of a dossier.
    """
    match = _ANSWER.fullmatch(text)
    if match is None:
        return None
    return (HoldAnswer(match[1]) if match[1] else HoldAnswer.ADOPT), match[2], match[3]


def may_start_generation(record: Record | None, verdict: DocumentVerdict, essence: str, rerun: str | None) -> bool:
    """True when this may begin a generation, so that its images have to be looked at."""
    if record is None or record.next is not None or record.outcome is Outcome.WITHDRAWN:
        return True
    return verdict is DocumentVerdict.CHANGED and (requests_rerun(record, rerun) or essence != record.desired.essence)


def requests_rerun(record: Record, rerun: str | None) -> bool:
    """True for a rerun token that was not obeyed yet."""
    return rerun is not None and not record.has_applied_rerun(rerun)


def withdrawals_allowed(requested: int, recent: int, known: int) -> bool:
    """May this many requests be withdrawn without approval? More than max(3, 20 %) in an hour need it."""
    return requested + recent <= max(3, known // 5)
