"""The two stores of a copy, as each engine gives them, and the tables that are copied."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from agent.platform.settings import Settings
from agent.store.audit.checkpoints import Checkpoint
from agent.store.identity_key import Keys

ROWS = 1000  # rows of a page: a few MB
# Every table with the order in which its rows are compared. Others refer to `requests`, so that one is first.
TABLES = {
    "requests": "uid",
    "events": "uid, seq",
    "labels": "key, value, uid",
    "provenance": "uid, generation",
    "commands": "id",
    "recoveries": "id",
    "attempts": "uid, number",
    "starts": "uid, generation",
    "reservations": "uid, generation",
    "orphans": "reference",
    "unclaimed_dossiers": "dossier_id",
    "receipts": "digest",
    "links": "uid",
    "claims": "uid, generation",
    "image_deletions": "uid",
    "superseded_images": "uid, generation, depiction",
    "sources": "source",
    "source_revisions": "source",
    "refusals": "source, file, line, col, message, hint, coalesce(name, '')",
    "scan_notes": "uid, kind, source",
    "withdrawals": "uid, generation",
    "counters": "counter, mode, process_type, outcome",
    "request_counts": "phase, state, reason, dossier",
    "deliveries": "id",
    "meta": "key",
}
# The schema begins with this note of the last command, so an empty target has it.
DROP_EMPTY_NOTE = """
DELETE FROM meta WHERE key = 'commands' AND value = '' AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'copy/of')
"""
Row = tuple[Any, ...]


class Side(Protocol):
    """A store that is read in one snapshot."""

    @property
    def name(self) -> str:
        """The store, as messages name it."""

    def unlock(self, keys: Keys) -> None:
        """Use the key of the store. An engine may seal capture links with it."""

    async def columns(self, table: str) -> list[str]:
        """The names of the columns of a table, in the order of the alphabet."""

    def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        """All rows of a table in their order, in pages, with the values that both engines give: see `select`.

        A time in `meta` is a text. A capture link is the link itself, however the engine stores it.
        """

    def pages(self, sql: str) -> AsyncIterator[Sequence[Any]]:
        """The rows of a query that both engines understand, in pages."""

    async def checkpoints(self, path: Path) -> list[Checkpoint]:
        """The checkpoints. `path` is the file of an engine that keeps them in a file."""


class Source(Side, Protocol):
    """The store that is copied. No agent owns it."""

    async def set_aside(self, target: str) -> str | None:
        """Mark it, so that no agent starts on it again, and erase its capture links. A repetition changes nothing.

        Returns where a file is kept under another name.
        """


class Target(Side, Protocol):
    """An empty store that becomes the copy. No agent owns it. Nothing is visible to others before `commit`."""

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows to a table, as `rows` of the source gives them."""

    async def insert_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Add the checkpoints, for an engine that keeps them in a table."""

    async def commit(self) -> None:
        """Make all rows durable, or none."""

    async def finish(self) -> None:
        """Remove the mark of an unfinished copy: an agent may start on it."""


class Copying(Protocol):
    """How an engine copies: its store as each of the two sides."""

    def source(self, settings: Settings) -> AbstractAsyncContextManager[Source]:
        """The store that is copied. Raises StoreLocked while an agent owns it."""

    def target(self, settings: Settings) -> AbstractAsyncContextManager[Target]:
        """The store that becomes the copy, empty or unfinished. Raises StoreLocked while an agent owns it."""

    def reading(self, settings: Settings) -> AbstractAsyncContextManager[Side]:
        """The store for a comparison."""


def select(table: str, columns: Sequence[str]) -> str:
    """The query of the rows of a table in their order, without the marks."""
    kept = "WHERE key NOT IN ('copy/of', 'moved/to')" if table == "meta" else ""
    return f"SELECT {', '.join(columns)} FROM {table} {kept} ORDER BY {TABLES[table]}"  # noqa: S608 - names of the schema
