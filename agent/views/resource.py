"""What is told of a request as JSON: the same to the command line and to programs. What is absent is null."""

from typing import Any

from agent.core.conditions import conditions
from agent.core.record import Phase, Record
from agent.core.timestamps import written


def when(at: float | None) -> str | None:
    """A time, or null."""
    return None if at is None else written(at)


def item(record: Record) -> dict[str, Any]:
    """A request (design §9)."""
    hold = record.hold
    settled = record.done_at if record.phase is Phase.DONE else hold.at if hold is not None else None
    return {
        "name": record.name,
        "uid": record.uid,
        "generation": record.generation,
        "mode": record.desired.mode,
        "phase": record.phase,
        "state": record.state,
        "outcome": record.outcome,
        "reason": hold.reason if hold is not None else None,
        "holdId": hold.id if hold is not None else None,
        "externalReference": record.reference if record.opened_at is not None else None,
        "dossierId": record.dossier_id,
        "processId": record.process_id,
        "due": when(record.due_at),
        "admittedAt": when(record.admitted_at),
        "settledAt": when(settled),
    }


def status(record: Record) -> dict[str, Any]:
    """A request with its labels and conditions, as the API tells it."""
    return {
        **item(record),
        "labels": dict(record.desired.labels),
        "observedGeneration": record.generation,
        "conditions": [
            {
                "type": condition.type,
                "status": "True" if condition.holds else "False",
                "reason": condition.reason,
                "observedGeneration": record.generation,
                "lastTransitionTime": written(condition.at),
            }
            for condition in conditions(record)
        ],
    }
