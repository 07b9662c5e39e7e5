"""One request for an auditor: its search by name, uid or forgotten name, and its events with answers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from agent.store.audit.connection import AuditConnection
from agent.store.audit.request_log import AuditEntry, LoggedAnswer, Subject
from agent.store.identity_key import Keys
from agent.store.reading.common_reads import texts

Connection = Any  # of an engine: `execute(sql, values)`
_PAGE = 1000  # events per query, so that no snapshot of a reader lasts while a terminal is slow


def subjects(audit: AuditConnection, name_or_uid: str, keys: Keys | None) -> list[Subject]:
    """The requests of this name, one for each source, or of this uid.

    A forgotten name is in no table. The uid of its request is still derived from source and name with the key of the
    store.
    """
    sources = [row[0] for row in audit.execute("SELECT source FROM sources")]
    uids = {name_or_uid, *(keys.uid(source, name_or_uid) for source in sources if keys is not None)}
    by_uid = "uid IN (SELECT value FROM json_each(?))"
    found = _rows(audit, by_uid, texts(sorted(uids))) or _rows(audit, "name = ?", name_or_uid)
    return [Subject(uid=row["uid"], name=row["name"], row=row) for row in found]


def _rows(audit: AuditConnection, where: str, value: str) -> list[dict[str, Any]]:
    sql = f"SELECT * FROM requests WHERE {where} ORDER BY source"  # noqa: S608 - constant
    return [dict(row) for row in audit.mappings(sql, (value,))]


def request_events(connection: Connection, uid: str) -> Iterator[AuditEntry]:
    """All events of a request, oldest first."""
    return EventReader(connection, [uid]).read()


class EventReader:
    """Reads the events of some requests, or of all, in the order of writing. Each `read` continues after the last one.

    `since` is in seconds since the epoch, `after` the number of an event. An event that ends a call has the answer.
    """

    def __init__(
        self, connection: Connection, uids: Sequence[str] | None = None, since: float = 0.0, after: int = 0
    ) -> None:
        self._connection = connection
        self._since = float(since)
        self._uids = None if uids is None else texts(list(uids))
        self._last = after  # the newest event that was read
        self._open_calls: dict[str, int | None] = {}  # by uid

    def read(self) -> Iterator[AuditEntry]:
        """The events that were written since the last read."""
        while page := self._page():
            answers = self._answers({uid for _, uid, *_ in page})
            self._find_open_calls(page)
            for event, uid, seq, at, kind, text, digest, name in page:
                self._last = event
                changes = orjson.loads(text)
                number = self._answered(uid, changes["intent"]) if "intent" in changes else None
                yield AuditEntry(
                    event=event,
                    uid=uid,
                    seq=seq,
                    at=at,
                    type=kind,
                    changes=changes,
                    hash=digest,
                    name=name,
                    reply=answers.get((uid, number)),
                )

    def _page(self) -> list[Any]:
        of_requests = "" if self._uids is None else "AND uid IN (SELECT value FROM json_each(?3))"
        sql = (
            "SELECT id, uid, seq, at, type, changes, hash, "  # noqa: S608 - constant
            "(SELECT name FROM requests WHERE requests.uid = events.uid) FROM events "
            f"WHERE id > ?1 AND at >= ?2 {of_requests} ORDER BY id LIMIT {_PAGE}"
        )
        values = [self._last, self._since, *([] if self._uids is None else [self._uids])]
        return self._connection.execute(sql, values).fetchall()  # type: ignore[no-any-return]

    def _answers(self, uids: Iterable[str]) -> dict[tuple[str, int | None], LoggedAnswer]:
        """The answers to the calls of these requests, by uid and number."""
        columns = "number, effect, result, status, trouble, trace_id, words"
        sql = (
            f"SELECT uid, {columns} FROM attempts "  # noqa: S608 - constant
            "WHERE uid IN (SELECT value FROM json_each(?)) AND result IS NOT NULL"
        )
        rows = self._connection.execute(sql, (texts(list(uids)),))
        names = columns.split(", ")
        return {(uid, values[0]): LoggedAnswer(**dict(zip(names, values, strict=True))) for uid, *values in rows}

    def _answered(self, uid: str, following: dict[str, Any] | None) -> int | None:
        """The number of the call that was open before this event. `following` is the call that it opens."""
        number = self._open_calls.get(uid)
        self._open_calls[uid] = following["number"] if following is not None else None
        return number

    def _find_open_calls(self, page: Iterable[Any]) -> None:
        """Find the calls that were open before the first event that is read of a request."""
        first: dict[str, int] = {}  # the number of that event, by uid
        for _, uid, seq, *_ in page:
            first.setdefault(uid, seq)
        begun = {uid: seq for uid, seq in first.items() if seq > 1 and uid not in self._open_calls}
        sql = (
            "SELECT uid, seq, changes FROM events WHERE uid IN (SELECT value FROM json_each(?)) "
            "AND instr(changes, '\"intent\":') > 0 ORDER BY uid, seq"
        )
        rows = self._connection.execute(sql, (texts(list(begun)),)) if begun else ()
        self._open_calls |= dict.fromkeys(begun)
        for uid, seq, text in rows:
            changes = orjson.loads(text)
            if seq < begun[uid] and "intent" in changes:
                self._open_calls[uid] = None if changes["intent"] is None else int(changes["intent"]["number"])
