"""One state of an exploration."""

from dataclasses import dataclass, replace

from agent.core.effect import Effect
from agent.core.record import Desired, Record
from verification.assure_model import AssureModel, Dossier, Process
from verification.exhaustive_choices import ExhaustiveChoices


@dataclass(slots=True)
class State:
    """A record, the model of Assure, the request file, and the unanswered effect."""

    record: Record
    assure: AssureModel
    file: Desired | None
    effect: Effect | None
    now: float
    orphans: frozenset[str]
    left: int  # adversities that are left
    bound: tuple[tuple[int, str], ...] = ()  # generation -> the process in the intent of its start
    moves_so_far: tuple[str, ...] = ()  # the observations that led here


def copied(state: State, ways: ExhaustiveChoices) -> State:
    """A copy that can change. Its model of Assure takes its choices from `ways`."""
    assure = state.assure
    world = replace(
        assure,
        chance=ways,
        dossiers={
            one.dossier_id: Dossier(
                one.dossier_id,
                one.reference,
                one.created,
                one.deleted_at,
                [Process(p.process_id, p.process_type, list(p.moves), list(p.started)) for p in one.processes],
            )
            for one in assure.dossiers.values()
        },
    )
    return replace(state, assure=world)
