"""The equality of two states: the parts that the machine and the model read, with times relative to now.

Past times are cut at the longest grace period, and future times at the longest wait. Fields that only number or date
something are left out: version, intents, admission, and the time of the outcome. Two states may therefore differ in the
age of an outcome, which only matters to a later change of the retention. Counters, attempts and generations are kept as
they are.
"""

import hashlib
from dataclasses import fields
from typing import Any

from agent.core.record import Desired, Record
from verification.assure_model import Dossier, Process
from verification.state import State

HOLD_TTL = 300.0  # seconds, in the policy of an exploration
_OLD, _FAR = -70.0, 3600.0  # seconds: longer than every grace period, and longer than every wait of an exploration
_SEEN = -5.0  # older changes show in every read, even with lag
_PAST = {"not_before": 0.0, "due_at": 0.0, "delete_at": 0.0, "read_at": -2.0}  # the largest past difference that counts
_LEFT_OUT = frozenset(
    {
        *("uid", "name", "source", "agent", "version", "intents"),
        *("admitted_at", "phase_at", "opened_at", "outcome_at", "done_at", "reserved_at", "result", "hold"),
    }
)
_FIELDS = tuple(one.name for one in fields(Record) if one.name not in _LEFT_OUT)
_A_DATE = 1e9  # seconds: numbers above are times


def key(state: State) -> int:
    """The same number for equal states."""
    record, now = state.record, state.now
    parts = [
        *(_plain(getattr(record, name), now, _PAST.get(name, _OLD)) for name in _FIELDS),
        record.reserved_at is None,
        record.outcome_at is None,
        _clocks(record, now),
        state.effect.kind if state.effect else None,
        state.file.digest if state.file else None,
        state.left,
        [_dossier(one, state) for one in state.assure.dossiers.values() if _counts(one, state)],
    ]
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


def state_hash(record: Record) -> int:
    """The same number for records that a query cannot distinguish: equal except for times."""
    parts = [_normalize(getattr(record, name)) for name in (*_FIELDS, "hold", "opened_at")]
    return hash(repr(parts))


def _normalize(value: Any) -> Any:
    return "a time" if isinstance(value, float) and value > _A_DATE else _plain(value, 0.0)


def _plain(value: Any, now: float, old: float = _OLD) -> Any:
    if isinstance(value, float) and value > _A_DATE:
        return _time(value, now, old)
    if isinstance(value, Desired):
        return value.digest
    if hasattr(value, "__dataclass_fields__"):
        return [_plain(getattr(value, one), now) for one in value.__dataclass_fields__ if one not in ("id", "number")]
    return value


def _time(at: float, now: float, old: float = _OLD) -> float:
    left = round(at - now, 3)
    return old if left < old else min(left, _FAR)


def _clocks(record: Record, now: float) -> tuple[Any, ...]:
    """The time left until the deadline and the end of the hold, and the last poll relative to the deadline."""
    deadline = record.opened_at + record.desired.deadline if record.opened_at is not None else None
    hold = record.hold
    return (
        None if deadline is None else _time(deadline, now),
        deadline is not None and record.read_at is not None and record.read_at >= deadline,
        None if hold is None else (hold.reason, hold.essence, _time(hold.at + HOLD_TTL, now)),
    )


def _counts(dossier: Dossier, state: State) -> bool:
    """True unless the dossier is deleted and no call refers to it."""
    recent = dossier.deleted_at is None or dossier.deleted_at > state.now + _SEEN
    return recent or dossier.dossier_id == state.record.dossier_id


def _dossier(one: Dossier, state: State) -> Any:
    record, now = state.record, state.now
    return (
        one.dossier_id == record.dossier_id,
        one.reference == record.reference,
        one.reference in state.orphans,
        _time(one.created, now, _SEEN),
        _time(one.deleted_at, now, _SEEN) if one.deleted_at is not None else None,
        [_process(process, state) for process in one.processes],
    )


def _process(process: Process, state: State) -> Any:
    horizon = state.now + _SEEN
    ahead = [(_time(since, state.now), status) for since, status in process.moves if since > horizon]
    return (
        process.process_id == state.record.process_id,
        process.process_type,
        None if len(ahead) == len(process.moves) else process.status(horizon),
        ahead,
        len(process.started),
    )
