"""Reads of a store while an agent works on it, in this process: a command takes half a second to start."""

from pathlib import Path

from agent.core.record import Record
from agent.store.sqlite.readonly import ReadOnlyStore


def records(state: Path) -> dict[str, Record]:
    """All records by name; none while the store does not exist or is being created."""
    if not state.exists():
        return {}
    try:
        with ReadOnlyStore(state) as reading:
            return {record.name: record for record in reading.all()}
    except Exception:
        return {}
