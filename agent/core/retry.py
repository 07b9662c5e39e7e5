"""Judgements on trouble, as values: how long to wait, what proves absence, what is a surprise (design §5)."""

from agent.core.answer import Evidence
from agent.core.classify import REFUSAL
from agent.core.effect import EffectKind
from agent.core.policy import Policy
from agent.core.record import HoldReason, RemoteObjection


def backoff(failures: int, jitter: float, policy: Policy, floor: float = 0.0) -> float:
    """Seconds to wait after `failures` in a row: exponential, full jitter by `jitter`, never under `floor`."""
    ceiling = (
        policy.backoff_base
        * 1.5 ** min(failures, policy.slow_backoff_failures)
        * 2.0 ** min(max(failures - policy.slow_backoff_failures, 0), 30)
    )
    ceiling = min(policy.backoff_cap, ceiling)
    return max(floor, ceiling * jitter)


def is_unexpected(evidence: Evidence) -> bool:
    """True when Assure itself said something the contract does not know: an answer came, and it was no server trouble.

    A 5xx, a redirect or a page of somebody else on the way is trouble, and is asked again for as long as it takes.
    """
    return evidence.trouble is None and evidence.status is not None and 200 <= evidence.status < 300


def remote_objection(kind: EffectKind, evidence: Evidence) -> RemoteObjection | None:
    """What Assure itself said against an effect whose answer proves nothing.

    A start that is refused in Assure's own words is in doubt all the same: no answer but success proves anything of it.
    """
    if is_unexpected(evidence):
        return RemoteObjection(reason=HoldReason.UNEXPECTED_ANSWER, evidence=hold_evidence(kind, evidence))
    refused = evidence.cause == REFUSAL
    return RemoteObjection(reason=HoldReason.REFUSED, evidence=hold_evidence(kind, evidence)) if refused else None


def hold_evidence(kind: EffectKind, evidence: Evidence) -> str:
    """What a hold shows of an answer, token-shaped."""
    return " ".join(str(part) for part in (kind, evidence.status, evidence.cause, evidence.digest) if part)


def holds_new_work(cause: str) -> bool:
    """True while nothing may be begun in such a recovery: a copy knows of work that may have gone further since."""
    return cause != "lost"


def start_spacing(repeats: int, policy: Policy) -> float:
    """Seconds between the two pending reads that prove a start did not happen.

    Where it did not happen again and again, something is wrong with this request: then it is repeated ever less often.
    """
    often = max(0, repeats - policy.start_repeats)
    return min(policy.settle_time * 2.0 ** min(often, 30), max(policy.settle_time, policy.max_start_interval))
