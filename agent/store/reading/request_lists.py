"""Lists of requests, page by page, for the API and the status page.

A page begins after a key of the page before, or ends before a key of the page after. The keys stay valid while requests
come and go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.record import Record
from agent.store.read_results import Filter, Page
from agent.store.reading.common_reads import texts
from agent.store.reading.queries import Queries
from agent.store.repository import load

# Each is served by a covering index, so that only the rows of the page are read.
_LABEL = "labels WHERE key = ? AND value = ?"
_PHASE = "requests INDEXED BY requests_by_phase WHERE phase = ?"
_STATE = "requests WHERE state = ?"
_OUTCOME = "requests INDEXED BY requests_by_outcome WHERE outcome = ?"
_REASON = "requests INDEXED BY requests_held WHERE hold_reason = ?"
_NAME = "requests INDEXED BY requests_by_part_of_name WHERE name IS NOT NULL AND instr(name, ?) > 0"
_ANY = "requests WHERE name IS NOT NULL"
_LATEST = "9e99-"  # a key before all others


@dataclass(frozen=True, slots=True)
class _Term:
    """One condition on a request."""

    sql: str
    values: tuple[str, ...]


class RequestLists(Queries):
    """Reads of lists."""

    def page(self, wanted: Filter, limit: int, *, after: str = "", before: str = "") -> Page:
        """At most `limit` requests by uid, that meet the filter. The keys of pages are uids.

        The query reads the index of the rarest condition, and seeks each other condition in its own index.
        """
        terms = sorted(_terms(wanted), key=self._frequency)
        driven = _Term(_NAME, (wanted.part,)) if wanted.part else terms.pop(0) if terms else _Term(_ANY, ())
        seek, order = ("uid < ?", "uid DESC") if before else ("uid > ?", "uid")
        sql = f"SELECT uid FROM (SELECT uid FROM {driven.sql} AND {seek}) AS found WHERE 1 = 1"  # noqa: S608 - constant
        for term in terms:
            sql += f" AND EXISTS (SELECT 1 FROM {term.sql} AND uid = found.uid)"  # noqa: S608 - constant
        sql += f" ORDER BY {order} LIMIT ?"
        values = (*driven.values, before or after, *(value for term in terms for value in term.values), limit + 1)
        uids = self._column(sql, *values)
        return self._cut(uids, uids, limit, after, before)

    def latest(self, state: str, limit: int, *, after: str = "", before: str = "") -> Page:
        """At most `limit` requests in a state, the latest progress first. Raises ValueError for an invalid key.

        The keys of pages are times and uids. A request that progresses meanwhile moves to the first page.
        """
        seek, order = (">", "ASC") if before else ("<", "DESC")
        at, _, uid = (before or after or _LATEST).partition("-")
        if math.isnan(float(at)):  # an order of its own in each engine
            raise ValueError("not a key")
        rows = self.query(
            "SELECT uid, progress_at FROM requests WHERE state = ? AND name IS NOT NULL"  # noqa: S608 - constant
            f" AND (progress_at, uid) {seek} (?, ?) ORDER BY progress_at {order}, uid {order} LIMIT ?",
            (state, float(at), uid, limit + 1),
        )
        return self._cut([uid for uid, _ in rows], [f"{at!r}-{uid}" for uid, at in rows], limit, after, before)

    def _cut(self, uids: Sequence[str], keys: Sequence[str], limit: int, after: str, before: str) -> Page:
        """The page of these uids, which are in the order of the search and may contain one more than the page."""
        more = len(uids) > limit
        step = -1 if before else 1
        uids, keys = uids[:limit][::step], keys[:limit][::step]
        earlier, later = (more, True) if before else (bool(after), more)
        return Page(
            records=self._named(uids),
            before=keys[0] if keys and earlier else None,
            after=keys[-1] if keys and later else None,
        )

    def _frequency(self, term: _Term) -> int:
        """How many requests match, up to 2000: above that, the order of the conditions makes no difference."""
        return int(self._value(f"SELECT count(*) FROM (SELECT 1 FROM {term.sql} LIMIT 2000) AS few", *term.values))  # noqa: S608

    def _named(self, uids: Sequence[str]) -> list[Record]:
        sql = "SELECT uid, record FROM requests WHERE name IS NOT NULL AND uid IN (SELECT value FROM json_each(?))"
        rows = dict(self.query(sql, (texts(uids),)))
        return [load(rows[uid]) for uid in uids if uid in rows]


def _terms(wanted: Filter) -> list[_Term]:
    """The conditions of a filter, other than the part of the name."""
    single = ((_PHASE, wanted.phase), (_STATE, wanted.state), (_OUTCOME, wanted.outcome), (_REASON, wanted.reason))
    return [_Term(_LABEL, pair) for pair in wanted.labels] + [_Term(sql, (str(it),)) for sql, it in single if it]
