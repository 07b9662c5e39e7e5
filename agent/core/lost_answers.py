"""Lost answers: when the lists of Assure prove that a dossier is absent, and which process to adopt."""

from enum import StrEnum

from agent.core.assure_types import ListedProcess, Status
from agent.core.effect import EffectKind
from agent.core.observations import DossierSearched, Observation
from agent.core.policy import Policy
from agent.core.record import Record


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
    waited = search.at - policy.grace_start(since)
    if not search.complete:
        return Absence.UNPROVABLE if waited >= policy.list_lag else Absence.OPEN
    return Absence.PROVEN if waited >= policy.absence_grace else Absence.OPEN


def possible_orphan(before: Record, observation: Observation, after: Record, policy: Policy) -> str | None:
    """A dossier we stopped looking for: its create was unknown, it was not found, and may turn up yet."""
    gave_up = before.doubt is EffectKind.CREATE_DOSSIER and after.doubt is None and after.dossier_id is None
    if not gave_up:
        return None
    if isinstance(observation, DossierSearched) and before.doubt_since is not None:
        return None if absence(observation, before.doubt_since, policy) is Absence.PROVEN else before.reference
    return before.reference


def next_search(at: float, since: float, policy: Policy) -> float:
    """When to look again after a search at `at`: after the grace for lagging reads, then ever less often."""
    since = policy.grace_start(since)
    if at < since + policy.list_lag:
        return max(at + policy.min_read_interval, since + policy.list_lag)
    return max(at + policy.min_read_interval, min(at + (at - since), since + policy.absence_grace))


def adoptable_process(processes: tuple[ListedProcess, ...], provider: str, process_type: str) -> ListedProcess | None:
    """The oldest pending process that is what we would have created."""
    matching = [
        process
        for process in processes
        if process.status is Status.PENDING and process.provider == provider and process.process_type == process_type
    ]
    return min(matching, key=lambda process: (process.created_at, process.process_id), default=None)


def started_process(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """A process that is not pending, if there is one: it forbids a start. The latest of them."""
    moving = [process for process in processes if process.status is not Status.PENDING]
    return max(moving, key=lambda process: (process.updated_at, process.process_id), default=None)


def deciding_process(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """The process that decides a capture request: an accepted one, else the latest final one once none is open."""
    accepted = [process for process in processes if process.status is Status.ACCEPTED]
    candidates = accepted or (list(processes) if all(process.status.final for process in processes) else [])
    return max(candidates, key=lambda process: (process.updated_at, process.process_id), default=None)
