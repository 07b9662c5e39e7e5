"""The rows of a request in tables, and the order of requests by a column."""

from collections.abc import Callable, Sequence
from time import time
from typing import Any

from agent.core.errors import WrongUse, did_you_mean
from agent.core.record import Phase, Record
from agent.core.timestamps import format_timestamp
from agent.views.age import format_age
from agent.views.resource import reason_of
from agent.views.revisions import short

COLUMNS = ("name", "mode", "phase", "state", "outcome", "reason", "age")
WIDE_COLUMNS = (*COLUMNS, "generation", "labels", "file", "commit", "deadline", "uid")

_PHASES = list(Phase)
_NOTHING = "-"  # in a cell


def rows(records: Sequence[Record], wide: bool = False) -> list[list[str]]:
    """The cells of COLUMNS, or of WIDE_COLUMNS, for each request."""
    now = time()
    return [_row(record, now) + (_wide_row(record) if wide else []) for record in records]


def _row(record: Record, now: float) -> list[str]:
    return [
        record.name,
        record.desired.mode,
        record.phase.value,
        record.state,
        record.outcome.value if record.outcome else _NOTHING,
        f"{record.hold.reason} ({record.hold.id})" if record.hold else reason_of(record) or _NOTHING,
        format_age(now - record.admitted_at),
    ]


def _wide_row(record: Record) -> list[str]:
    deadline = _open_deadline(record)
    return [
        str(record.generation),
        ",".join(f"{key}={value}" for key, value in record.desired.labels) or _NOTHING,
        record.desired.file or _NOTHING,
        short(record.desired.commit or _NOTHING),
        format_timestamp(deadline) if deadline is not None else _NOTHING,
        record.uid,
    ]


def _open_deadline(record: Record) -> float | None:
    """The deadline while there is no outcome. None before the first create call."""
    return record.deadline_at if record.outcome is None else None


_ORDERS: dict[str, Callable[[Record], Any]] = {
    "name": lambda record: record.name,
    "mode": lambda record: record.desired.mode,
    "phase": lambda record: _PHASES.index(record.phase),
    "state": lambda record: record.state,
    "outcome": lambda record: record.outcome,
    "reason": reason_of,
    "age": lambda record: -record.admitted_at,
    "generation": lambda record: record.generation,
    "labels": lambda record: record.desired.labels or None,
    "file": lambda record: (record.desired.file, record.desired.line),
    "commit": lambda record: record.desired.commit,
    "deadline": _open_deadline,
    "uid": lambda record: record.uid,
}


def check_column(column: str) -> None:
    """Raise WrongUse, with the columns, for a column that does not exist."""
    if column.lower() not in _ORDERS:
        raise WrongUse(
            f"There is no column {column!r}.{did_you_mean(column.lower(), _ORDERS)}", f"--sort-by {', '.join(_ORDERS)}"
        )


def complete_column(incomplete: str) -> list[str]:
    """The columns that begin with this text."""
    return [column for column in _ORDERS if column.startswith(incomplete)]


def in_order(records: Sequence[Record], column: str) -> list[Record]:
    """The requests by a column, in ascending order: the youngest first, phases in the order of a life.

    Requests without a value come last, and equal ones are ordered by name.
    """
    value = _ORDERS[column.lower()]
    valued = [record for record in records if value(record) is not None]
    rest = [record for record in records if value(record) is None]
    by_name = sorted(valued, key=lambda record: record.name)
    return sorted(by_name, key=value) + sorted(rest, key=lambda record: record.name)
