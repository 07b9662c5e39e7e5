"""Reads of a store while an agent works on it, in this process: a command takes half a second to start."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading
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


def records(stored: Path | Settings) -> dict[str, Record]:
    """All records by name; none while the store does not exist or is being created. `stored`: its file or settings."""
    try:
        with ReadOnlyStore(stored) if isinstance(stored, Path) else open_reading(stored) as reading:
            return {record.name: record for record in reading.all()}
    except Exception:
        return {}
