"""The rows of other tables that belong to a request, read for many requests at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

Connection = Any  # of an engine: `execute(sql, values)`
_PAGE = 200  # requests
_SELECTS = {
    "events": ("id, seq, at, type, changes, hash", "seq"),
    "attempts": ("number, generation, effect, intended_at, answered_at, result", "number"),
    "starts": ("generation, process_id, at", "generation"),
    "labels": ("key, value", "key"),
    "provenance": ("generation, file, author, file_commit, signer", "generation"),
}


@dataclass(slots=True)
class History:
    """The rows of one request by table, in the order of `_SELECTS`. Each is a tuple of the columns there."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    starts: list[tuple[Any, ...]] = field(default_factory=list)
    labels: list[tuple[Any, ...]] = field(default_factory=list)
    provenance: list[tuple[Any, ...]] = field(default_factory=list)


def with_histories(
    connection: Connection, requests: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], History]]:
    """Each row of `requests` with its history. A query for each request would take most of the time of a server."""
    waiting = iter(requests)
    while page := list(islice(waiting, _PAGE)):
        found = {row["uid"]: History() for row in page}
        uids = orjson.dumps([uid for uid in found if isinstance(uid, str)]).decode()
        for table, (columns, order) in _SELECTS.items():
            sql = (
                f"SELECT uid, {columns} FROM {table} "  # noqa: S608 - constant
                f"WHERE uid IN (SELECT value FROM json_each(?)) ORDER BY uid, {order}"
            )
            for uid, *values in connection.execute(sql, (uids,)):
                getattr(found[uid], table).append(tuple(values))
        for row in page:
            yield row, found[row["uid"]]
