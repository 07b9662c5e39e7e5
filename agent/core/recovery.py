"""Judgements on trouble, as values: how long to wait, what proves absence, what is a surprise (design §5)."""

from enum import StrEnum

from agent.core.answer import Evidence
from agent.core.classify import REFUSAL
from agent.core.effect import EffectKind
from agent.core.observation import DossierSearched, Observation
from agent.core.policy import Policy
from agent.core.record import HoldReason, Objection, Record
from agent.core.remote import ListedProcess, Status


def backoff(failures: int, chance: float, policy: Policy, floor: float = 0.0) -> float:
    """Seconds to wait after `failures` in a row: exponential, full jitter by `chance`, never under `floor`."""
    ceiling = policy.backoff_base * 1.5 ** min(failures, policy.noise) * 2.0 ** min(max(failures - policy.noise, 0), 30)
    ceiling = min(policy.backoff_cap, ceiling)
    return max(floor, ceiling * chance)


def surprising(evidence: Evidence) -> bool:
    """True when Assure itself said something the contract does not know: an answer came, and it was no server trouble.

    A 5xx, a redirect or a page of somebody else on the way is trouble, and is asked again for as long as it takes.
    """
    return evidence.trouble is None and evidence.status is not None and 200 <= evidence.status < 300


def objected(kind: EffectKind, evidence: Evidence) -> Objection | None:
    """What Assure itself said against an effect whose answer proves nothing.

    A start that is refused in Assure's own words is in doubt all the same: no answer but success proves anything of it.
    """
    if surprising(evidence):
        return Objection(reason=HoldReason.SURPRISE, evidence=quoted(kind, evidence))
    refused = evidence.cause == REFUSAL
    return Objection(reason=HoldReason.REFUSED, evidence=quoted(kind, evidence)) if refused else None


def quoted(kind: EffectKind, evidence: Evidence) -> str:
    """What a hold shows of an answer, token-shaped."""
    return " ".join(str(part) for part in (kind, evidence.status, evidence.cause, evidence.digest) if part)


def gated(why: str) -> bool:
    """True while nothing may be begun in such a recovery: a copy knows of work that may have gone further since."""
    return why != "lost"


def start_distance(repeats: int, policy: Policy) -> float:
    """Seconds between the two pending reads that prove a start did not happen.

    Where it did not happen again and again, something is wrong with this request: then it is repeated ever less often.
    """
    often = max(0, repeats - policy.start_repeats)
    return min(policy.certainty * 2.0 ** min(often, 30), max(policy.certainty, policy.start_patience))


class Absence(StrEnum):
    """What a search that did not find our dossier says of it."""

    OPEN = "open"  # too early to tell: it is looked for again
    PROVEN = "proven"  # it was never created
    UNPROVABLE = "unprovable"  # it may be there, out of sight: go on, and keep the reference on the books


def absence(search: DossierSearched, since: float, policy: Policy) -> Absence:
    """What is proved about a dossier whose creation is unknown since `since`, by a search without it.

    A list shorter than its limit holds every dossier there is, so that one read after the call can no longer act, and
    after the grace for lagging reads, proves absence. A full list never proves it, and waiting would not help: only
    the grace for lagging reads is waited for.
    """
    waited = search.at - policy.since(since)
    if search.listed >= policy.list_limit:
        return Absence.UNPROVABLE if waited >= policy.lag_grace else Absence.OPEN
    return Absence.PROVEN if waited >= policy.proof_grace else Absence.OPEN


def orphaned(before: Record, seen: Observation, after: Record, policy: Policy) -> str | None:
    """A dossier we stopped looking for: its create was unknown, it was not found, and may turn up yet."""
    gave_up = before.doubt is EffectKind.CREATE_DOSSIER and after.doubt is None and after.dossier_id is None
    if not gave_up:
        return None
    if isinstance(seen, DossierSearched) and before.doubt_since is not None:
        return None if absence(seen, before.doubt_since, policy) is Absence.PROVEN else before.reference
    return before.reference


def next_search(at: float, since: float, policy: Policy) -> float:
    """When to look again after a search at `at`: after the grace for lagging reads, then ever less often."""
    since = policy.since(since)
    if at < since + policy.lag_grace:
        return max(at + policy.read_gap, since + policy.lag_grace)
    return max(at + policy.read_gap, min(at + (at - since), since + policy.proof_grace))


def adoptable(processes: tuple[ListedProcess, ...], provider: str, process_type: str) -> ListedProcess | None:
    """The oldest pending process that is what we would have created."""
    matching = [
        process
        for process in processes
        if process.status is Status.PENDING and process.provider == provider and process.process_type == process_type
    ]
    return min(matching, key=lambda process: (process.created_at, process.process_id), default=None)


def started(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """A process that is not pending, if there is one: it forbids a start. The latest of them."""
    moving = [process for process in processes if process.status is not Status.PENDING]
    return max(moving, key=lambda process: (process.updated_at, process.process_id), default=None)


def decided(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """The process that decides a capture request: an accepted one, else the latest final one once none is open."""
    accepted = [process for process in processes if process.status is Status.ACCEPTED]
    candidates = accepted or (list(processes) if all(process.status.final for process in processes) else [])
    return max(candidates, key=lambda process: (process.updated_at, process.process_id), default=None)
