"""The audit history: what changed in a record, as data. Folding all changes gives the audited record [I5].

Only what is audited goes in: no name, no label, no path, no author, no link, no pace. Digests are salted,
ids are Assure's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.core.record import Record

Audited = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the history: `type` is the observation's name, `changes` the new values of audited fields."""

    at: float
    type: str
    changes: Audited


def audited(record: Record) -> Audited:
    """The audited fields of a record, JSON-safe. Fields without a value are left out."""
    result = record.result
    fields: Audited = {
        "generation": record.generation,
        "attempt": record.attempt,
        "mode": record.desired.mode,
        "processType": record.desired.process_type.value,
        "digest": record.desired.digest,
        "commit": record.desired.commit,
        "dirty": record.desired.dirty,
        "deadline": record.desired.deadline,
        "retention": record.desired.retention,
        "suspended": record.desired.suspend or None,
        "claimsTtl": record.desired.claims_ttl,
        "present": record.present,
        "nextDigest": record.next.digest if record.next else None,
        "phase": record.phase.value,
        "outcome": record.outcome.value if record.outcome else None,
        "hold": {"id": record.hold.id, "reason": record.hold.reason.value, "evidence": record.hold.evidence}
        if record.hold
        else None,
        "intent": {"effect": record.intent.kind.value, "number": record.intent.number} if record.intent else None,
        "doubt": record.doubt.value if record.doubt else None,
        "dossierId": record.dossier_id,
        "processId": record.process_id,
        "documentPages": record.document_pages,
        "uploaded": record.uploaded or None,
        "reservedAt": record.reserved_at,
        "queued": record.queued or None,
        "declined": record.declined or None,
        "billed": record.billed or None,
        "status": result.status.value if result else None,
        "reasons": [[r.type, r.category, r.sub_category] for r in result.reasons] if result else None,
        "checks": [[name, passed] for name, passed in result.checks] if result else None,
        "failType": result.fail_type if result else None,
        "similarity": result.similarity if result else None,
        "claimsUntil": record.claims_until,
        "discard": record.discard or None,
        "discarded": [[depiction.value, how] for depiction, how in record.discarded] or None,
        "deleted": record.deleted or None,
        "admittedAt": record.admitted_at,
        "openedAt": record.opened_at,
        "outcomeAt": record.outcome_at,
        "deleteAt": record.delete_at,
        "doneAt": record.done_at,
        "shownAt": record.shown_at,
    }
    return {key: value for key, value in fields.items() if value is not None}


def difference(before: Record | None, after: Record) -> Audited:
    """What changed; a field that lost its value is None."""
    old = audited(before) if before is not None else {}
    new = audited(after)
    changes: Audited = {key: value for key, value in new.items() if old.get(key) != value}
    changes.update({key: None for key in old if key not in new})
    return changes


def replay(changes: Iterable[Mapping[str, Any]]) -> Audited:
    """Fold the changes of all events, oldest first."""
    fields: Audited = {}
    for change in changes:
        for key, value in change.items():
            if value is None:
                fields.pop(key, None)
            else:
                fields[key] = value
    return fields
