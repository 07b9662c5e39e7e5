"""Judgements on trouble, as values: how long to wait, what proves absence, what is a surprise (design §5)."""

from agent.core.answer import Evidence
from agent.core.observation import DossierSearched
from agent.core.policy import Policy
from agent.core.remote import ListedProcess, Status


def backoff(failures: int, chance: float, policy: Policy, floor: float = 0.0) -> float:
    """Seconds to wait after `failures` in a row: exponential, full jitter by `chance`, never under `floor`."""
    ceiling = min(policy.backoff_cap, policy.backoff_base * 2.0 ** min(failures, 30))
    return max(floor, ceiling * chance)


def surprising(evidence: Evidence) -> bool:
    """True when Assure itself said something the contract does not know: an answer came, and it was no server trouble.

    A 5xx, a redirect or a page of somebody else on the way is trouble, and is asked again for as long as it takes.
    """
    return evidence.trouble is None and evidence.status is not None and 200 <= evidence.status < 300


def absent(search: DossierSearched, since: float, policy: Policy) -> bool | None:
    """Is the dossier that was intended at `since` not there? True: go on. None: too early to tell, look again.

    A list shorter than its limit that lacks it, read after the grace for lagging reads, proves absence. A full list
    never proves it; after the grace we go on all the same, and the reference stays on the books as a possible orphan.
    """
    if search.dossier_id is not None:
        return False
    return True if search.at - since >= policy.lag_grace else None


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
