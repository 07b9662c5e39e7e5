"""Named queries, as files of SQL.

A named query is a file `NAME.sql`. The first line of its comment is the title. Then come a description and one line for
each parameter (`-- :since=time  meaning`). A missing parameter is the empty text, as in Datasette. A parameter without
a kind is any text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
