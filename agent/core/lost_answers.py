"""Rules for lost answers: proof that a dossier does not exist, and the process to adopt."""

from enum import StrEnum

from agent.core.assure_types import ListedProcess, Status
from agent.core.effect import EffectKind
from agent.core.observations import DossierSearched, Observation
from agent.core.policy import Policy
from agent.core.record import Record


class Absence(StrEnum):
    """The conclusion from a search that did not find the dossier."""

    OPEN = "open"  # too early: the agent searches again
    PROVEN = "proven"  # Assure never created it
    UNPROVABLE = "unprovable"  # it may exist outside the list: continue, and record a possible orphan


def absence(search: DossierSearched, since: float, policy: Policy) -> Absence:
    """The conclusion from a search without the dossier, whose creation is unknown since `since`.

    A complete list proves absence when it was read after two delays: the call can no longer act, and reads no longer
    lag. A full list never proves absence, even later. Then only the delay for lagging reads applies.
    """
    waited = search.at - policy.grace_start(since)
    if not search.complete:
        return Absence.UNPROVABLE if waited >= policy.list_lag else Absence.OPEN
    return Absence.PROVEN if waited >= policy.absence_grace else Absence.OPEN


def possible_orphan(before: Record, observation: Observation, after: Record, policy: Policy) -> str | None:
    """The reference of a possible orphan: the step ends the search for a dossier that may still appear."""
    gave_up = before.doubt is EffectKind.CREATE_DOSSIER and after.doubt is None and after.dossier_id is None
    if not gave_up:
        return None
    if isinstance(observation, DossierSearched) and before.doubt_since is not None:
        return None if absence(observation, before.doubt_since, policy) is Absence.PROVEN else before.reference
    return before.reference


def next_search(at: float, since: float, policy: Policy) -> float:
    """When to search again after a search at `at`: after the delay for lagging reads, then in growing intervals."""
    since = policy.grace_start(since)
    if at < since + policy.list_lag:
        return max(at + policy.min_read_interval, since + policy.list_lag)
    return max(at + policy.min_read_interval, min(at + (at - since), since + policy.absence_grace))


def adoptable_process(processes: tuple[ListedProcess, ...], provider: str, process_type: str) -> ListedProcess | None:
    """The oldest pending process of this provider and type."""
    matching = [
        process
        for process in processes
        if process.status is Status.PENDING and process.provider == provider and process.process_type == process_type
    ]
    return min(matching, key=lambda process: (process.created_at, process.process_id), default=None)


def started_process(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """The latest process that is not pending, if there is one. It forbids a start."""
    moving = [process for process in processes if process.status is not Status.PENDING]
    return max(moving, key=lambda process: (process.updated_at, process.process_id), default=None)


def deciding_process(processes: tuple[ListedProcess, ...]) -> ListedProcess | None:
    """The process that decides a capture request: an accepted one, or the latest final one when none is open."""
    accepted = [process for process in processes if process.status is Status.ACCEPTED]
    candidates = accepted or (list(processes) if all(process.status.final for process in processes) else [])
    return max(candidates, key=lambda process: (process.updated_at, process.process_id), default=None)
