"""One request for an auditor: its search by name, uid or forgotten name, and its events with answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from agent.store.connection import Connection
from agent.store.identity_key import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A request. `name` is None when it was forgotten."""

    uid: str
    name: str | None
    row: dict[str, Any]  # of `requests`


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAnswer:
    """The answer of Assure to the call of an event. `result` is its class."""

    number: int
    effect: str
    result: str
    status: int | None
    trouble: str | None
    trace_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One event. `event` counts in the order of writing, `seq` within the request. `at` is in seconds, UTC."""

    event: int
    seq: int
    at: float
    type: str
    changes: dict[str, Any]
    hash: str
    reply: LoggedAnswer | None = None


def subjects(connection: Connection, name_or_uid: str, keys: Keys | None) -> list[Subject]:
    """The requests of this name, one for each source, or of this uid.

    A forgotten name is in no table. The uid of its request is still derived from source and name with the key of the
    store.
    """
    sources = [row[0] for row in connection.execute("SELECT source FROM sources")]
    uids = {name_or_uid, *(keys.uid(source, name_or_uid) for source in sources if keys is not None)}
    by_uid = "uid IN (SELECT value FROM json_each(?))"
    found = _rows(connection, by_uid, orjson.dumps(sorted(uids)).decode()) or _rows(connection, "name = ?", name_or_uid)
    return [Subject(uid=row["uid"], name=row["name"], row=row) for row in found]


def _rows(connection: Connection, where: str, value: str) -> list[dict[str, Any]]:
    rows = connection.execute(f"SELECT * FROM requests WHERE {where} ORDER BY source", (value,))  # noqa: S608 - constant
    columns = [column[0] for column in rows.description]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def request_events(connection: Connection, uid: str) -> Iterator[AuditEntry]:
    """All events of a request, oldest first."""
    columns = "number, effect, result, status, trouble, trace_id"
    sql = f"SELECT {columns} FROM attempts WHERE uid = ? AND result IS NOT NULL"  # noqa: S608 - constant
    names = columns.split(", ")
    replies = {row[0]: LoggedAnswer(**dict(zip(names, row, strict=True))) for row in connection.execute(sql, (uid,))}
    open_call: int | None = None
    sql = "SELECT id, seq, at, type, changes, hash FROM events WHERE uid = ? ORDER BY seq"
    for event, seq, at, kind, text, digest in connection.execute(sql, (uid,)):
        changes = orjson.loads(text)
        reply = None
        if "intent" in changes:
            reply = replies.get(open_call) if open_call is not None else None
            open_call = changes["intent"]["number"] if changes["intent"] is not None else None
        yield AuditEntry(event=event, seq=seq, at=at, type=kind, changes=changes, hash=digest, reply=reply)
