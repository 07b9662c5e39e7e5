"""What the API and the status page look through: lists in pages, each by an index, however many requests there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agent.core.record import Phase, Record
from agent.store.readonly import ReadOnlyStore
from agent.store.repository import load

# Each by an index that holds all that is asked, so that no row is read but those that are shown.
_LABEL = "labels WHERE key = ? AND value = ?"
_PHASE = "requests INDEXED BY requests_by_phase WHERE phase = ?"
_STATE = "requests WHERE state = ?"
_NAME = "requests INDEXED BY requests_by_part_of_name WHERE name IS NOT NULL AND instr(name, ?)"
_ANY = "requests WHERE name IS NOT NULL"


@dataclass(frozen=True, slots=True)
class _Term:
    """One thing that a request has to fit."""

    sql: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. `cursor` leads to the next one; None: there is none."""

    records: Sequence[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
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


class PageQueries(ReadOnlyStore):
    """The state file, to be looked through."""

    def page(
        self,
        labels: Sequence[tuple[str, str]],
        phase: Phase | None,
        after: str,
        limit: int,
        part: str = "",
        state: str = "",
    ) -> Page:
        """At most `limit` requests in a stable order: with all the labels, in the phase and state, with the name.

        The rarest of what is asked for is gone through, and each of the others is a look into an index.
        """
        terms = [_Term(_LABEL, (key, value)) for key, value in labels]
        terms += [_Term(_PHASE, (phase.value,))] if phase is not None else []
        terms += [_Term(_STATE, (state,))] if state else []
        terms.sort(key=self._common)
        driven = _Term(_NAME, (part,)) if part else terms.pop(0) if terms else _Term(_ANY, ())
        sql = f"SELECT uid FROM (SELECT uid FROM {driven.sql} AND uid > ?) AS found WHERE 1"  # noqa: S608 - ours
        for term in terms:
            sql += f" AND EXISTS (SELECT 1 FROM {term.sql} AND uid = found.uid)"  # noqa: S608 - ours
        sql += " ORDER BY uid LIMIT ?"
        values = [*driven.values, after, *(value for term in terms for value in term.values), limit + 1]
        uids = [row[0] for row in self._connection.execute(sql, values)]
        return Page(records=self._loaded(uids[:limit]), cursor=uids[limit - 1] if len(uids) > limit else None)

    def _common(self, term: "_Term") -> int:
        """How many requests fit it, up to as many as make no difference."""
        return self._one(f"SELECT count(*) FROM (SELECT 1 FROM {term.sql} LIMIT 2000)", *term.values)  # noqa: S608

    def by_state(self, state: str, limit: int, oldest: bool = False) -> list[Record]:
        """Requests in this state, the latest progress first, or the oldest."""
        order = "progress_at" if oldest else "progress_at DESC"
        sql = f"SELECT record FROM requests WHERE state = ? AND name IS NOT NULL ORDER BY {order} LIMIT ?"  # noqa: S608 - ours
        return [load(row[0]) for row in self._connection.execute(sql, (state, limit))]

    def states(self) -> dict[str, int]:
        """How many requests are in each state."""
        return dict(
            self._connection.execute(
                "SELECT state, sum(requests) FROM request_counts GROUP BY state HAVING sum(requests) > 0"
            ).fetchall()
        )

    def history(self, uid: str, most: int) -> list[HistoryEntry]:
        """The last entries of the audit history, oldest first."""
        sql = "SELECT seq, at, type, changes FROM events WHERE uid = ? ORDER BY seq DESC LIMIT ?"
        rows = self._connection.execute(sql, (uid, most)).fetchall()
        return [
            HistoryEntry(seq=row[0], at=row[1], type=row[2], changes=orjson.loads(row[3])) for row in reversed(rows)
        ]

    def sources(self) -> list[SourceState]:
        """The sources, as their last scans saw them."""
        sql = "SELECT source, synced_at, files, complete, waiting FROM sources ORDER BY source"
        return [
            SourceState(source=row[0], synced_at=row[1], files=row[2], complete=bool(row[3]), waiting=row[4])
            for row in self._connection.execute(sql)
        ]

    def concerns(self, now: float) -> dict[str, int]:
        """What should be none or few: refused documents, overdue deletions, possible orphans, notices not taken."""
        return {
            "refused": self._one("SELECT count(DISTINCT file || char(0) || coalesce(name, line)) FROM refusals"),
            "overdue": self.overdue(now),
            "orphans": self._one("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "deliveries": self._one("SELECT count(*) FROM deliveries"),
        }

    def _loaded(self, uids: Sequence[str]) -> list[Record]:
        sql = "SELECT uid, record FROM requests WHERE name IS NOT NULL AND uid IN (SELECT value FROM json_each(?))"
        rows = dict(self._connection.execute(sql, (orjson.dumps(list(uids)).decode(),)).fetchall())
        return [load(rows[uid]) for uid in uids if uid in rows]
