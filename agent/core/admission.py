"""Compare a document of the source with the record of its name (design §4, §8).

Pure. `agent/admission/` reads the source and the records; `plan` uses the same functions.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from agent.core.record import HoldAnswer, Outcome, Record


class DocumentVerdict(StrEnum):
    """The decision about a document that is in the source."""

    ADMIT = "admit"  # a new name: admit a request
    UNCHANGED = "followed"  # the agent already follows this document
    CHANGED = "changed"  # another document than the one that the agent follows
    RETURNED = "returned"  # the document that the agent follows, after its file was away


class ScanNoteKind(StrEnum):
    """A fact about a request that a scan found and that its record does not contain."""

    WITHDRAWAL_WAITS = "withdrawal-waits"  # its file is gone, and the prune guard waits for approval
    STRAY_ANSWER = "stray-answer"  # `assure-agent/resolve` in its file names no open hold


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanNote:
    """A fact about a request that the operator must know, as of the last scan."""

    uid: str
    kind: ScanNoteKind
    hold_id: str = ""  # the hold that the annotation names, or empty


def judge(record: Record | None, digest: str, essence: str, file: str, rerun: str | None) -> DocumentVerdict:
    """Return the decision about a document.

    `digest` (salted), `essence` and `rerun` (its token) come from the document, `file` is its path.
    """
    if record is None:
        return DocumentVerdict.ADMIT
    question = record.hold.essence if record.hold is not None else ""
    target = record.next or record.desired
    follows = record.next is not None or (digest != target.digest and requests_rerun(record, rerun))
    if record.present and not follows and essence in (question, record.declined):
        return DocumentVerdict.UNCHANGED  # the operator is asked about it, or left it to a later rerun
    if digest != target.digest:
        return DocumentVerdict.CHANGED if digest != record.desired.digest else DocumentVerdict.RETURNED
    away = not record.present or bool(question)
    moved = record.next is None and record.desired.file != file and record.outcome is not Outcome.WITHDRAWN
    return DocumentVerdict.RETURNED if away or moved else DocumentVerdict.UNCHANGED


_ANSWER = re.compile(r"(?:(retry|abandon)|adopt=(.{1,200}))@(h-[0-9a-f]{6})")


def parsed_answer(text: str) -> tuple[HoldAnswer, str | None, str] | None:
    """Parse an `assure-agent/resolve` annotation into answer, dossier to adopt and hold id. None when it is invalid.

    The dossier id is not validated.
    """
    match = _ANSWER.fullmatch(text)
    if match is None:
        return None
    return (HoldAnswer(match[1]) if match[1] else HoldAnswer.ADOPT), match[2], match[3]


def may_start_generation(record: Record | None, verdict: DocumentVerdict, essence: str, rerun: str | None) -> bool:
    """True when this document may start a generation, so that admission must check its images."""
    if record is None or record.next is not None or record.outcome is Outcome.WITHDRAWN:
        return True
    return verdict is DocumentVerdict.CHANGED and (requests_rerun(record, rerun) or essence != record.desired.essence)


def requests_rerun(record: Record, rerun: str | None) -> bool:
    """True for a rerun token that did not start a generation yet."""
    return rerun is not None and not record.has_applied_rerun(rerun)


def withdrawals_allowed(requested: int, recent: int, known: int) -> bool:
    """True when the prune guard allows this many withdrawals: at most max(3, 20 % of the known requests) in an hour."""
    return requested + recent <= max(3, known // 5)
