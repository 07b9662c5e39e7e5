"""The audited part of a record, and its changes as data. Folding all changes gives the audited record [I5].

Names, labels, paths, origins of files, capture links and pace are not audited. Digests are salted, ids are Assure's.
The store adds keyed digests of data that is kept outside the audit log (`DIGESTS`). They are not fields of a record.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.core.record import Hold, Intent, Record, Result

Audited = dict[str, Any]

# Keys of `changes` that the store adds (agent/store/digests.py). They are not fields of a record.
ANSWER = "answer"  # the class of the answer to the open intent
DIGESTS = frozenset({"nameDigest", "labelsDigest", "originDigests", "forgotten", "command"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the audit log: `type` is the observation's name, `changes` the new values of audited fields."""

    at: float
    type: str
    changes: Audited


def audited(record: Record) -> Audited:
    """The audited fields of a record as JSON values. Fields without a value are left out."""
    fields = {
        **{key: shown(getattr(record, name)) for key, name, shown in _RECORD_FIELDS},
        **{key: shown(getattr(record.desired, name)) for key, name, shown in _DESIRED_FIELDS},
        **_result_fields(record.result),
    }
    return {key: value for key, value in fields.items() if value is not None}


def difference(before: Record, after: Record) -> Audited:
    """The audited values that changed. The value of a field that lost its value is None."""
    changes: Audited = {}
    _compare(changes, _RECORD_FIELDS, vars(before), vars(after))
    if before.desired is not after.desired:
        fields = [name for _, name, _ in _DESIRED_FIELDS]
        old, new = ({name: getattr(one.desired, name) for name in fields} for one in (before, after))
        _compare(changes, _DESIRED_FIELDS, old, new)
    if before.result is not after.result:
        old, new = _result_fields(before.result), _result_fields(after.result)
        changes.update({key: new.get(key) for key in old | new if old.get(key) != new.get(key)})
    return changes


def digested_fields_changed(before: Record, after: Record) -> bool:
    """True when a field changed whose digest the store keeps: name, labels, file or its origin."""
    if before.desired is after.desired and before.next is after.next:
        return before.name != after.name
    return _digested_fields(before) != _digested_fields(after)


def _digested_fields(record: Record) -> tuple[object, ...]:
    following = record.next
    followed = None if following is None else (following.file, following.origin)
    return record.name, record.desired.labels, record.desired.file, record.desired.origin, followed


def _compare(changes: Audited, fields: "_Fields", old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Add the audited values that differ. Most fields are the same object in both records, so identity comes first."""
    for key, name, shown in fields:
        if new[name] is not old[name] and (value := shown(new[name])) != shown(old[name]):
            changes[key] = value


def _same(value: Any) -> Any:
    return value


def _enum_value(value: StrEnum | None) -> str | None:
    return None if value is None else value._value_  # `value` would call two functions


def _or_none(value: Any) -> Any:
    return value or None


def _hold(hold: Hold | None) -> Audited | None:
    return None if hold is None else {"id": hold.id, "reason": hold.reason.value, "evidence": hold.evidence}


def _intent(intent: Intent | None) -> Audited | None:
    return None if intent is None else {"effect": _enum_value(intent.kind), "number": intent.number}


def _result_fields(result: Result | None) -> Audited:
    if result is None:
        return {}
    return {
        "status": result.status.value,
        "reasons": [[reason.type, reason.category, reason.sub_category] for reason in result.reasons],
        "checks": [[name, passed] for name, passed in result.checks],
        "failType": result.fail_type,
        "similarity": result.similarity,
    }


# Audited fields: the name in the audit log, the field of the record, and the function that converts its value.
_Fields = tuple[tuple[str, str, Callable[[Any], Any]], ...]
_RECORD_FIELDS: _Fields = (
    ("generation", "generation", _same),
    ("attempt", "attempt", _same),
    ("present", "present", _same),
    ("nextDigest", "next", lambda desired: None if desired is None else desired.digest),
    ("phase", "phase", _enum_value),
    ("outcome", "outcome", _enum_value),
    ("hold", "hold", _hold),
    ("intent", "intent", _intent),
    ("doubt", "doubt", _enum_value),
    ("dossierId", "dossier_id", _same),
    ("processId", "process_id", _same),
    ("documentPages", "document_pages", _same),
    ("uploaded", "uploaded", _or_none),
    ("reservedAt", "reserved_at", _same),
    ("queued", "queued", _or_none),
    ("declined", "declined", _or_none),
    ("billed", "billed", _or_none),
    ("claimsUntil", "claims_until", _same),
    ("discard", "discard", _or_none),
    ("discarded", "discarded", lambda results: [[depiction.value, how] for depiction, how in results] or None),
    ("deleted", "deleted", _or_none),
    ("admittedAt", "admitted_at", _same),
    ("openedAt", "opened_at", _same),
    ("outcomeAt", "outcome_at", _same),
    ("deleteAt", "delete_at", _same),
    ("doneAt", "done_at", _same),
    ("shownAt", "shown_at", _same),
)

_DESIRED_FIELDS: _Fields = (
    ("mode", "mode", _same),
    ("processType", "process_type", _enum_value),
    ("digest", "digest", _same),
    ("commit", "commit", _same),
    ("dirty", "dirty", _same),
    ("deadline", "deadline", _same),
    ("retention", "retention", _same),
    ("suspended", "suspend", _or_none),
    ("claimsTtl", "claims_ttl", _same),
)


def replay(changes: Iterable[Mapping[str, Any]]) -> Audited:
    """Fold the changes of all events, oldest first. Leaves out the digests that the store added."""
    fields: Audited = {}
    for change in changes:
        for key, value in change.items():
            if key in DIGESTS or key == ANSWER:
                continue
            if value is None:
                fields.pop(key, None)
            else:
                fields[key] = value
    return fields
