"""Reads of a store while an agent works on it, in this process: a command takes half a second to start."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from agent.core.record import Record
from agent.store.sqlite.readonly import ReadOnlyStore

T = TypeVar("T")


def at_once(read: Coroutine[Any, Any, T]) -> T:
    """The result of a read on SQLite, which never waits."""
    try:
        read.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("the read waits")


def records(state: Path) -> dict[str, Record]:
    """All records by name; none while the store does not exist or is being created."""
    if not state.exists():
        return {}
    try:
        with ReadOnlyStore(state) as reading:
            return {record.name: record for record in reading.all()}
    except Exception:
        return {}
