"""Rules for failed calls: waits, unexpected answers and objections (design §5)."""

from agent.core.answer import Evidence
from agent.core.classify import REFUSAL
from agent.core.effect import EffectKind
from agent.core.policy import Policy
from agent.core.record import HoldReason, RemoteObjection


def backoff(failures: int, jitter: float, policy: Policy, floor: float = 0.0) -> float:
    """Seconds to wait after `failures` in a row: exponential with full jitter, at least `floor`."""
    ceiling = (
        policy.backoff_base
        * 1.5 ** min(failures, policy.slow_backoff_failures)
        * 2.0 ** min(max(failures - policy.slow_backoff_failures, 0), 30)
    )
    ceiling = min(policy.backoff_cap, ceiling)
    return max(floor, ceiling * jitter)


def is_unexpected(evidence: Evidence) -> bool:
    """True for an answer with a 2xx status that does not match the contract.

    A 5xx, a redirect or a page of a proxy is a failure, and the agent repeats the call without a limit.
    """
    return evidence.trouble is None and evidence.status is not None and 200 <= evidence.status < 300


def remote_objection(kind: EffectKind, evidence: Evidence) -> RemoteObjection | None:
    """Assure's objection in an answer that proves nothing. None when there is no objection.

    A start stays in doubt even if Assure refuses it, because only success proves anything about a start.
    """
    if is_unexpected(evidence):
        return RemoteObjection(reason=HoldReason.UNEXPECTED_ANSWER, evidence=hold_evidence(kind, evidence))
    refused = evidence.cause == REFUSAL
    return RemoteObjection(reason=HoldReason.REFUSED, evidence=hold_evidence(kind, evidence)) if refused else None


def hold_evidence(kind: EffectKind, evidence: Evidence) -> str:
    """The evidence of an answer as a hold shows it: codes and known words."""
    parts = (kind, evidence.status, evidence.cause, evidence.digest, evidence.words)
    return " ".join(str(part) for part in parts if part)


def holds_new_work(cause: str) -> bool:
    """True for the cause of a recovery that blocks new work: the copy may be behind. A lost store blocks none."""
    return cause != "lost"


def start_spacing(repeats: int, policy: Policy) -> float:
    """Seconds between the two reads of `pending` that prove that a start did not happen.

    When starts fail repeatedly, something is wrong with this request, and the interval grows.
    """
    often = max(0, repeats - policy.start_repeats)
    return min(policy.settle_time * 2.0 ** min(often, 30), max(policy.settle_time, policy.max_start_interval))
