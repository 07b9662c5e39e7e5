"""What the API and the status page look through: lists in pages, each by an index, however many requests there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agent.core.record import Phase, Record
from agent.store.reading import Reading
from agent.store.rows import load

_HAS_LABEL = "EXISTS (SELECT 1 FROM labels WHERE key = ? AND value = ? AND uid = found.uid)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. `cursor` leads to the next one; None: there is none."""

    records: Sequence[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the audit history."""

    seq: int
    at: float
    type: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What the last scan of a source saw."""

    source: str
    synced_at: float
    files: int
    complete: bool
    waiting: int  # withdrawals that wait for an approval


class Browsing(Reading):
    """The state file, to be looked through."""

    def page(
        self, labels: Sequence[tuple[str, str]], phase: Phase | None, after: str, limit: int, part: str = ""
    ) -> Page:
        """At most `limit` requests in a stable order that have all the labels, are in the phase and have the name."""
        sql, values = _selection(labels, phase, part)
        order = f"{sql} AND found.uid > ? ORDER BY found.uid LIMIT ?"
        uids = [row[0] for row in self._connection.execute(order, (*values, after, limit + 1))]
        return Page(records=self._loaded(uids[:limit]), cursor=uids[limit - 1] if len(uids) > limit else None)

    def by_state(self, state: str, limit: int, oldest: bool = False) -> list[Record]:
        """Requests in this state, the latest progress first, or the oldest."""
        order = "progress_at" if oldest else "progress_at DESC"
        sql = f"SELECT record FROM requests WHERE state = ? ORDER BY {order} LIMIT ?"  # noqa: S608 - ours
        return [load(row[0]) for row in self._connection.execute(sql, (state, limit))]

    def states(self) -> dict[str, int]:
        """How many requests are in each state."""
        return dict(self._connection.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall())

    def history(self, uid: str, most: int) -> list[Entry]:
        """The last entries of the audit history, oldest first."""
        sql = "SELECT seq, at, type, changes FROM events WHERE uid = ? ORDER BY seq DESC LIMIT ?"
        rows = self._connection.execute(sql, (uid, most)).fetchall()
        return [Entry(seq=row[0], at=row[1], type=row[2], changes=orjson.loads(row[3])) for row in reversed(rows)]

    def sources(self) -> list[SourceState]:
        """The sources, as their last scans saw them."""
        sql = "SELECT source, synced_at, files, complete, waiting FROM sources ORDER BY source"
        return [
            SourceState(source=row[0], synced_at=row[1], files=row[2], complete=bool(row[3]), waiting=row[4])
            for row in self._connection.execute(sql)
        ]

    def concerns(self, now: float) -> dict[str, int]:
        """What should be none or few: refused documents, overdue deletions, possible orphans, notices not taken."""
        overdue = "SELECT count(*) FROM requests WHERE phase = 'deletion' AND delete_at < ?"
        return {
            "refused": self._one("SELECT count(DISTINCT file || char(0) || coalesce(name, line)) FROM refusals"),
            "overdue": self._one(overdue, now - 900),
            "orphans": self._one("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "deliveries": self._one("SELECT count(*) FROM deliveries"),
        }

    def _loaded(self, uids: Sequence[str]) -> list[Record]:
        sql = "SELECT uid, record FROM requests WHERE uid IN (SELECT value FROM json_each(?))"
        rows = dict(self._connection.execute(sql, (orjson.dumps(list(uids)).decode(),)).fetchall())
        return [load(rows[uid]) for uid in uids]


def _selection(labels: Sequence[tuple[str, str]], phase: Phase | None, part: str) -> tuple[str, list[str]]:
    """Drive by the first label, else by the name, else by the phase; each of the others is a look into an index."""
    wanted: list[tuple[str, list[str]]] = [(_HAS_LABEL, [key, value]) for key, value in labels]
    if phase is not None:
        wanted.append(
            (
                "EXISTS (SELECT 1 FROM requests INDEXED BY requests_by_phase WHERE phase = ? AND uid = found.uid)",
                [phase.value],
            )
        )
    named = "name IS NOT NULL AND instr(name, ?)" if part else "name IS NOT NULL"
    if labels:
        table, driven = "labels", ("found.key = ? AND found.value = ?", wanted.pop(0)[1])
        if part:
            wanted.append((f"EXISTS (SELECT 1 FROM requests WHERE {named} AND uid = found.uid)", [part]))
    elif phase is not None and not part:
        table, driven = "requests", ("found.phase = ? AND name IS NOT NULL", wanted.pop(0)[1])
    else:
        table, driven = "requests", (named, [part] if part else [])
    terms = [driven, *wanted]
    values = [value for _, found in terms for value in found]
    return f"SELECT found.uid FROM {table} AS found WHERE {' AND '.join(sql for sql, _ in terms)}", values  # noqa: S608
