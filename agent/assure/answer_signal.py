"""The meaning of a classified answer for the whole account, beyond the request that got it."""

from enum import StrEnum
from typing import TypeVar

from agent.core.answer import NEW_TOKENS_REFUSED, NOT_SENT, Answer, Busy, Done, Refused, Trouble, Unknown
from agent.core.classify import NOT_ACTED, REFUSAL
from agent.core.retry import is_unexpected

T = TypeVar("T")


class AnswerSignal(StrEnum):
    """The input of the circuit breaker."""

    HEALTHY = "well"  # Assure answered as documented: a success, or a refusal of its own
    TARGET_FOUND = "target"  # HEALTHY, and the dossier in the path exists
    TARGET_MISSING = "missing"  # 404 for a dossier that should exist, or for a path that should exist
    FORBIDDEN = "forbidden"  # 403
    CLIENT_REJECTED = "unaccepted"  # 401 for several new tokens in a row
    OUTAGE = "outage"  # no answer, a server error, or "try later"
    NEUTRAL = "nothing"  # no meaning for other calls


def signal_of(answer: Answer[T], target: str | None, expect_missing: bool = False) -> AnswerSignal:
    """`target` is the dossier in the path. `expect_missing`: a 404 is the expected answer."""
    if isinstance(answer, Done):
        return AnswerSignal.HEALTHY if target is None else AnswerSignal.TARGET_FOUND
    evidence = answer.evidence
    if evidence.trouble is Trouble.NO_TOKEN or evidence.cause == NOT_SENT:
        return AnswerSignal.NEUTRAL  # Assure was not asked, and the token endpoint has a circuit of its own
    if evidence.status == 403 and evidence.cause != "foreign-body":
        return AnswerSignal.FORBIDDEN
    if evidence.cause == NEW_TOKENS_REFUSED:
        return AnswerSignal.CLIENT_REJECTED
    return _signal_of_assure(answer, target, expect_missing)


def _signal_of_assure(answer: Refused | Busy | Unknown, target: str | None, expect_missing: bool) -> AnswerSignal:
    """An answer that is not about the client."""
    evidence = answer.evidence
    match answer:
        case Busy() if evidence.status == 404:
            return AnswerSignal.TARGET_MISSING  # the path does not exist
        case Refused() if evidence.status is None:
            return AnswerSignal.NEUTRAL
        case Unknown() if is_unexpected(evidence):
            return AnswerSignal.NEUTRAL
        case Refused() if evidence.cause != NOT_ACTED:  # NOT_ACTED: the answer may come from a gateway
            pass
        case Unknown() if evidence.cause == REFUSAL:  # a refused start is unknown, and still Assure's own answer
            pass
        case _:
            return AnswerSignal.OUTAGE
    missing = evidence.status == 404 and target is not None
    return AnswerSignal.TARGET_MISSING if missing and not expect_missing else AnswerSignal.HEALTHY
