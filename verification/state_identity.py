"""When two states are one: what the machine and the model read of them, with times as what is left of them.

A time in the past counts up to the longest grace there is, one far ahead as far. What only numbers or dates something
(version, intents, admission, the time of the outcome) is left out, so two states are taken for one that differ in the
age of an outcome: this matters to nothing but a retention that is changed later. Counters, attempts and generations are
kept as they are.
"""

import hashlib
from dataclasses import fields
from typing import Any

from agent.core.record import Desired, Record
from verification.assure_model import Dossier, Process
from verification.state import State

HOLD_TTL = 300.0  # seconds, in the policy of an exploration
_OLD, _FAR = -70.0, 3600.0  # seconds: longer than every grace, and longer than all that an exploration waits for
_SEEN = -5.0  # what is older shows in every read, however it lags
_PAST = {"not_before": 0.0, "due_at": 0.0, "delete_at": 0.0, "read_at": -2.0}  # how far back these are told apart
_LEFT_OUT = frozenset(
    {
        *("uid", "name", "source", "agent", "version", "intents"),
        *("admitted_at", "phase_at", "opened_at", "outcome_at", "done_at", "reserved_at", "result", "hold"),
    }
)
_FIELDS = tuple(one.name for one in fields(Record) if one.name not in _LEFT_OUT)
_A_DATE = 1e9  # seconds: numbers above are times


def key(state: State) -> int:
    """The same number for states that are one."""
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
    """The same number for records that look alike to a query: the same but for when."""
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
    """What is left of the deadline and of the hold, and how the last look stands to the deadline."""
    deadline = record.opened_at + record.desired.deadline if record.opened_at is not None else None
    hold = record.hold
    return (
        None if deadline is None else _time(deadline, now),
        deadline is not None and record.read_at is not None and record.read_at >= deadline,
        None if hold is None else (hold.reason, hold.essence, _time(hold.at + HOLD_TTL, now)),
    )


def _counts(dossier: Dossier, state: State) -> bool:
    """A dossier that is gone, and that nobody asks for, is history."""
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
