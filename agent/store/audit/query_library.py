"""Named queries, as files of SQL, and the tables that a query of an auditor may read.

A named query is a file `NAME.sql`. The first line of its comment is the title. Then come a description and one line for
each parameter (`-- :since=time  meaning`). A missing parameter is the empty text, as in Datasette. A parameter without
a kind is any text.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.errors import AgentError

# The tables that a query may read. A new table is closed by default, and a test demands a decision about it.
OPEN = frozenset(
    {
        "requests", "events", "attempts", "starts", "reservations", "withdrawals", "orphans", "image_deletions",
        "superseded_images", "provenance", "source_revisions",
        "sources", "refusals", "counters", "request_counts", "commands", "labels", "receipts", "recoveries",
        "unclaimed_dossiers", "scan_notes",
    }
)  # fmt: skip
CLOSED = frozenset({"links", "claims", "deliveries", "meta"})  # bearer secrets, personal data, notifications, notes

# The queries of the agent. In the checkout this is a link to `state/queries`; a wheel contains the files.
SHIPPED = Path(__file__).with_name("queries")
_PARAMETER = re.compile(r":([a-z_]+)(?:=([a-z]+))?\s+(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A named query. `parameters` are names with their meanings, `kinds` the kinds of their values."""

    name: str
    title: str
    about: str
    parameters: tuple[tuple[str, str], ...]
    kinds: Mapping[str, str]
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """Columns and rows."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def library(*folders: Path) -> dict[str, Query]:
    """All named queries by name. A later folder overrides an earlier one."""
    files = [path for folder in folders for path in sorted(folder.glob("*.sql"))]
    return dict(sorted({path.stem: read(path) for path in files}.items()))


def read(path: Path) -> Query:
    """Read a named query."""
    text = path.read_text()
    comment = [line[2:].strip() for line in text.splitlines() if line.startswith("--")]
    parameters = [match.groups() for line in comment if (match := _PARAMETER.fullmatch(line))]
    prose = [line for line in comment if not _PARAMETER.fullmatch(line)]
    sql = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return Query(
        name=path.stem,
        title=prose[0] if prose else "",
        about=" ".join(filter(None, prose[1:])),
        parameters=tuple((key, meaning) for key, _, meaning in parameters),
        kinds={key: kind for key, kind, _ in parameters if kind is not None},
        sql=sql,
    )


class AuditQueries(ABC):
    """Queries of auditors. They only read, and read no secret."""

    def __init__(self, files: Path) -> None:
        """`files`: the state file, or the path that the names of the local files begin with."""
        self._own = files.with_name("queries")

    @property
    def shipped(self) -> Sequence[Path]:
        """The folders with the queries of the agent, in the SQL of the engine."""
        return (SHIPPED,)

    def library(self) -> dict[str, Query]:
        """All named queries by name: those of the agent, and those in the folder `queries` of the local files."""
        return library(*self.shipped, self._own)

    @abstractmethod
    def run(self, sql: str, values: Mapping[str, str]) -> AbstractContextManager[QueryResult]:
        """Run a query. `values` has one for each `:name`. Read its rows within the block. Raises AgentError."""

    @abstractmethod
    def views(self) -> dict[str, tuple[str, ...]]:
        """The views of the store with their columns."""


def refused(reason: str) -> AgentError:
    """The error for a query that may not be run."""
    return AgentError(
        f"The query is refused: {reason.rstrip('.')}.",
        f"read only, and of these: {', '.join(sorted(OPEN))}, and the views",
    )


def unknown_part(reason: str) -> AgentError:
    """The error for a query that names an unknown table or column."""
    return AgentError(
        f"The query cannot be run: {reason.rstrip('.')}.", "list tables and columns with `assure-agent audit query`"
    )


def no_columns() -> AgentError:
    """The error for a statement that reads no rows."""
    return AgentError("This statement returns no columns.", "write a SELECT")
