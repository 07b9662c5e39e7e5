"""What a document means for what we know of its name: the judgement between a scan and the records (design §4, §8).

Pure: who gathers the scan and the records is `admission.py` of the loops; `plan` judges with the same functions.
"""

from enum import StrEnum

from agent.core.record import Outcome, Record


class Verdict(StrEnum):
    """What follows from a document that is in the source."""

    ADMIT = "admit"  # a name never seen: a new request
    FOLLOWED = "followed"  # it is what we follow already
    CHANGED = "changed"  # another document than the one we follow
    RETURNED = "returned"  # the document we follow, after it was away


def judge(record: Record | None, digest: str, file: str) -> Verdict:
    """What the document with this salted digest, found in this file, means."""
    if record is None:
        return Verdict.ADMIT
    if record.declined == digest and record.present:
        return Verdict.FOLLOWED  # a person has decided to leave it unheeded
    target = record.next or record.desired
    question = record.hold.digest if record.hold is not None else ""
    if question and question == digest and record.present:
        return Verdict.FOLLOWED  # it is the document that a person was asked about
    if digest != target.digest:
        return Verdict.CHANGED if digest != record.desired.digest else Verdict.RETURNED
    away = not record.present or bool(question)
    moved = record.next is None and record.desired.file != file and record.outcome is not Outcome.WITHDRAWN
    return Verdict.RETURNED if away or moved else Verdict.FOLLOWED


def begins(record: Record | None, verdict: Verdict, essence: str, rerun: str | None) -> bool:
    """True when this may begin a generation, so that its images have to be looked at."""
    if record is None or record.next is not None or record.outcome is Outcome.WITHDRAWN:
        return True
    again = rerun is not None and rerun not in record.reruns
    return verdict is Verdict.CHANGED and (again or essence != record.desired.essence)


def withdrawals_allowed(wanted: int, recent: int, known: int) -> bool:
    """May this many requests be withdrawn without a person's word? More than max(3, 20 %) in an hour need one."""
    return wanted + recent <= max(3, known // 5)
