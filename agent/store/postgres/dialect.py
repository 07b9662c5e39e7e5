"""The SQL that both engines share, as PostgreSQL reads it.

The shared text is that of SQLite, within these rules:

- A value is `?`, or `?1`, `?2` where one is used twice.
- `INDEXED BY name` and `NOT INDEXED` are hints for SQLite, which has no statistics. They are left out here.
- `IN (SELECT value FROM json_each(?))` takes a JSON array of texts: `common_reads.texts`.
- `instr(text, part)` searches for a part of a text.
- A sum is cast to `bigint`, or read with `int()`. A subquery in FROM has a name. A flag is compared with 1.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import count
from typing import Any

_HINT = re.compile(r"\s+(?:INDEXED BY \w+|NOT INDEXED)\b")
_AMONG = re.compile(r"\bIN \(SELECT value FROM json_each\((\?\d*)\)\)")
_VALUE = re.compile(r"\?(\d*)")


@cache
def numbered(sql: str) -> str:
    """The text of a query, with `$1`, `$2` for its values."""
    number = count(1)
    return _VALUE.sub(lambda found: f"${found[1] or next(number)}", _portable(sql))


def sent(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of a query as they are sent. A text with NUL is searched as it was written: without NUL."""
    return tuple(_without_nul(value) if isinstance(value, str) else value for value in values)


@cache
def template(sql: str) -> str:
    """The text of a statement as an argument of the server's `format`, which quotes each value as a literal."""
    return _VALUE.sub("%L", _portable(sql).replace("%", "%%"))


def with_names(sql: str, names: Iterable[str]) -> str:
    """The text of an auditor's query. `$1` is the array of its values; each `:name` is one of them, in this order."""
    for place, name in enumerate(names, start=1):
        sql = re.sub(rf"(?<![:\w]):{name}\b", f'(($1::text[])[{place}] COLLATE "C")', sql)
    return sql


def literal_text(value: Any) -> str | None:
    """A value as the text of a literal."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return _without_nul(str(int(value) if isinstance(value, bool) else value))


def _without_nul(text: str) -> str:
    """PostgreSQL has no NUL, which a fault in a file or the path of a URL may contain."""
    return text.replace("\0", "\ufffd")


def _portable(sql: str) -> str:
    sql = _AMONG.sub(r"= ANY (ARRAY (SELECT json_array_elements_text(\1::json)))", _HINT.sub("", sql))
    return sql.replace("instr(", "strpos(")
