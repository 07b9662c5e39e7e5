"""A request as JSON, the same for the command line and the HTTP API. An absent value is null."""

from typing import Any

from agent.core.conditions import conditions
from agent.core.record import Phase, Record
from agent.core.timestamps import format_optional_timestamp, format_timestamp


def request_json(record: Record) -> dict[str, Any]:
    """The fields of a request (design §9)."""
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
        "due": format_optional_timestamp(record.due_at),
        "admittedAt": format_optional_timestamp(record.admitted_at),
        "settledAt": format_optional_timestamp(settled),
    }


def request_status_json(record: Record) -> dict[str, Any]:
    """A request with its labels and conditions, as the HTTP API returns it."""
    return {
        **request_json(record),
        "labels": dict(record.desired.labels),
        "observedGeneration": record.generation,
        "conditions": [
            {
                "type": condition.type,
                "status": "True" if condition.holds else "False",
                "reason": condition.reason,
                "observedGeneration": record.generation,
                "lastTransitionTime": format_timestamp(condition.at),
            }
            for condition in conditions(record)
        ],
    }
