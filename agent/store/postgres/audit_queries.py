"""SQL queries to the database: named ones, and free ones. They are read-only, and cannot read secrets.

The queries of the agent run with its own rights. Any other SQL runs as the role of auditors: see `auditor_role.sql`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from agent.core.errors import AgentError
from agent.platform.settings import Settings
from agent.store.audit.query_library import (
    SHIPPED,
    AuditQueries,
    QueryResult,
    library,
    no_columns,
    refused,
    unknown_part,
)

from .audit_connection import Session, session
from .connect import Server
from .dialect import with_names
from .driver import asyncpg
from .errors import sqlstate, translated

_HERE = Path(__file__).parent
_LONGEST = 60  # seconds of a query
_MOST = 100_000  # rows of a query that is not the agent's own
_LIMITS = f"SET LOCAL statement_timeout = '{_LONGEST}s';"
_MAY = """
SELECT coalesce(has_function_privilege(to_regprocedure('audit_query(text, text[], bigint)'), 'EXECUTE'), false)
"""
_AS_AUDITOR = """
SELECT ARRAY (SELECT value::text FROM json_each(found)) FROM audit_query($1, $2, $3) AS found
"""
_VIEWS = """
SELECT relname::text, array_agg(attname::text ORDER BY attnum)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace AND attnum > 0
GROUP BY relname ORDER BY relname COLLATE "C"
"""


def auditor_role() -> str:
    """The statements that create the role of auditors."""
    return (_HERE / "auditor_role.sql").read_text()


class PostgresQueries(AuditQueries):
    """Queries to a database."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.local_path)
        self._server = Server.of(settings)

    @property
    def shipped(self) -> Sequence[Path]:
        """The folders with the queries of the agent. The second one has those that differ from SQLite."""
        return (SHIPPED, _HERE / "queries")

    @contextlib.contextmanager
    def run(self, sql: str, values: Mapping[str, str]) -> Iterator[QueryResult]:
        """Run a query. Read its rows within the block. Raises AgentError."""
        own = any(sql == query.sql for query in library(*self.shipped).values())
        text, given = with_names(sql, values), list(values.values())
        with session(self._server, _explained) as opened:
            opened.freeze(_LIMITS)
            columns = opened.columns(text)
            if not columns:
                raise no_columns()
            rows = opened.rows(text, (given,)) if own else _as_auditor(opened, text, given)
            yield QueryResult(columns=columns, rows=rows)

    def views(self) -> dict[str, tuple[str, ...]]:
        """The views of the database with their columns."""
        with session(self._server) as opened:
            return {name: tuple(columns) for name, columns in opened.fetch(_VIEWS)}


def _as_auditor(opened: Session, text: str, values: list[str]) -> Iterator[list[Any]]:
    ((may,),) = opened.fetch(_MAY)
    if not may:
        raise AgentError(
            "The query is refused: this database has no role that may read the journal and no secret.",
            "let a superuser run the output of `assure-agent audit query --roles` in it, once",
        )
    for (row,) in opened.fetch(_AS_AUDITOR, (text, values, _MOST)):
        yield [None if value is None else orjson.loads(value) for value in row]


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Translate the errors of the block."""
    with translated(where):
        try:
            yield
        except asyncpg.PostgresError as error:
            if (unanswerable := _unanswerable(sqlstate(error) or "", str(error).splitlines()[0])) is None:
                raise
            raise unanswerable from None
        except asyncpg.InternalClientError as error:
            if "could not resolve" not in str(error):
                raise
            raise AgentError(
                "The query cannot be run: a column has a type without a text.", "name the columns, or cast them to text"
            ) from None


def _unanswerable(state: str, reason: str) -> AgentError | None:
    """The error for a query that cannot be run; None if the server is the cause."""
    if state in ("42501", "25006"):  # no privilege, and a write in a transaction that only reads
        return refused(reason)
    if state in ("42P01", "42703"):
        return unknown_part(reason)
    if state == "57014":
        return AgentError(f"The query took longer than {_LONGEST} s.", "narrow it, for example with since=2026-11-01")
    if state == "AA002":
        return AgentError(f"The query has more than {_MOST} rows.", "narrow it, or add LIMIT")
    if state[:2] in ("0A", "21", "22", "42"):  # the query itself is the cause
        return AgentError(f"The query cannot be run: {reason.rstrip('.')}.", "write one valid SELECT of PostgreSQL")
    return None
