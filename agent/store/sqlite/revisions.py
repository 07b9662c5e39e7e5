"""The SQL of the state of a git source."""

from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionState
from agent.store.revisions import COLUMNS, after_refresh, after_scan, revision_state, revision_values
from agent.store.sqlite.connection import Connection

REVISION_STATE = f"SELECT {', '.join(COLUMNS)} FROM source_revisions WHERE source = ?"  # noqa: S608 - constant
_WRITE = f"""
INSERT OR REPLACE INTO source_revisions (source, {", ".join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - constant


def write_refresh(
    connection: Connection,
    source: str,
    at: float,
    fetched: bool,
    refused: RefusedRevision | None,
    failure: FetchFailure | None,
) -> None:
    """Record a refresh. The caller holds the transaction."""
    _write(connection, source, after_refresh(_read(connection, source), at, fetched, refused, failure))


def write_acted(connection: Connection, source: str, at: float, revision: Revision) -> None:
    """Record the revision of a scan. The caller holds the transaction."""
    _write(connection, source, after_scan(_read(connection, source), at, revision))


def _read(connection: Connection, source: str) -> RevisionState:
    return revision_state(connection.execute(REVISION_STATE, (source,)).fetchone())


def _write(connection: Connection, source: str, state: RevisionState) -> None:
    connection.execute(_WRITE, (source, *revision_values(state)))
