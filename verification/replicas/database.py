"""A model of the database: the functions of the server, with the same outcomes, over a state file and tables in memory.

Each function is one transaction, and transactions follow each other: the locks of the real ones serve that order. The
tests of `agent/store/postgres/functions` and `make chaos` show that the server does so.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from agent.store.sqlite.connection import Connection, open_writer, sqlite3
from verification.replicas.tables import Moved, write_batch

Row = tuple[Any, ...]
_CALL = re.compile(r"\s*SELECT (?:\* FROM |NOT )?([a-z_]+?)(?:_\d+)?\(\$1\b")
_DUE = """
SELECT uid FROM requests WHERE priority = ? AND due_at <= ? AND (NOT ? OR opened_at IS NOT NULL)
ORDER BY due_at, admitted_at
"""
_DECIDED = "SELECT uid FROM requests WHERE decides_at <= ? AND due_at <= ? ORDER BY decides_at"
_NEXT = "SELECT uid, due_at FROM requests WHERE due_at IS NOT NULL AND (NOT ? OR opened_at IS NOT NULL) ORDER BY due_at"
_STARTS = """
SELECT (SELECT count(*) FROM reservations WHERE at >= ?1)
    + (SELECT count(*) FROM starts WHERE at >= ?1 AND NOT EXISTS
        (SELECT 1 FROM reservations AS r WHERE r.uid = starts.uid AND r.generation = starts.generation))
    + (SELECT count(*) FROM requests WHERE phase IN ('process', 'images', 'verification')
        AND NOT EXISTS (SELECT 1 FROM reservations AS r
            WHERE r.uid = requests.uid AND r.generation = requests.generation)
        AND NOT EXISTS (SELECT 1 FROM starts AS s WHERE s.uid = requests.uid AND s.generation = requests.generation))
"""
_BEGIN_RECOVERY = """
INSERT INTO recoveries (id, at, cause, kept)
SELECT (SELECT coalesce(max(id), 0) + 1 FROM recoveries), ?, 'older', (SELECT coalesce(max(id), 0) FROM events)
"""


@dataclass(slots=True)
class Replica:
    """A row of `replicas`."""

    until: float
    kind: str
    timeline: int
    marked: tuple[int, str] | None = None
    ended: bool = False


@dataclass(slots=True)
class Shared:
    """The tables that a state file does not have."""

    replicas: dict[UUID, Replica] = field(default_factory=dict)
    driving: dict[str, UUID] = field(default_factory=dict)
    duties: dict[str, tuple[UUID | None, float]] = field(default_factory=dict)  # the holder, and the next time
    taken: dict[tuple[str, int], float] = field(default_factory=dict)  # the day of a taken start
    missing_images: dict[tuple[str, UUID], tuple[float, int]] = field(default_factory=dict)  # since, searches
    missing_dossiers: dict[str, int] = field(default_factory=dict)
    circuit: dict[str, Any] = field(default_factory=dict)
    since: float = 0.0  # of the fleet
    timeline: int = 1  # of the last roll call


class DatabaseModel:
    """The server. `run` executes one statement."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        """`path` is a state file with the schema. `now` is the clock of the server, in seconds since the epoch."""
        self.path, self.now = path, now
        self.connection: Connection = open_writer(path)
        self.shared = Shared()
        self.timeline = 1  # that the server writes

    def run(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """The rows of a statement."""
        if (called := _CALL.match(sql)) is None:
            return self._query(sql, values)
        answer = getattr(self, called[1])(*values)
        if sql.lstrip().startswith("SELECT NOT"):
            answer = not answer
        return answer if isinstance(answer, list) else [answer] if isinstance(answer, tuple) else [(answer,)]

    def _query(self, sql: str, values: Sequence[Any]) -> list[Row]:
        if "pg_has_role" in sql or sql.startswith("VACUUM"):
            return []  # of the erasure, which has no old rows here
        if "FROM replicas" in sql and "EXISTS" in sql and "taken_starts" not in sql:
            return [(any(epoch != values[0] for epoch in self._living()),)]
        if "taken_starts" in sql:
            return [self._shared_columns()]
        rows: list[Row] = self.connection.execute(_of_sqlite(sql), [*map(_bound, values)]).fetchall()
        return rows

    def _living(self) -> list[UUID]:
        now, rows = self.now(), self.shared.replicas.items()
        return [epoch for epoch, one in rows if one.kind == "replica" and one.until > now and not one.ended]

    def _shared_columns(self) -> Row:
        day = self.now() // 86400 * 86400
        starts = self._starts(day) if day in self.shared.taken.values() else None
        circuit = orjson.dumps(self.shared.circuit).decode() if self.shared.circuit else None
        missing = orjson.dumps(self.shared.missing_dossiers).decode() if self.shared.missing_dossiers else None
        return len(self._living()), starts, circuit, missing

    # -- lives -----------------------------------------------------------------------------------------------------

    def holds_lease(self, epoch: UUID) -> bool:
        """The fence."""
        one = self.shared.replicas.get(epoch)
        return one is not None and one.until > self.now() and not one.ended

    def join_replica(
        self, epoch: UUID, _name: str, kind: str, _version: str, seconds: float, former: UUID | None
    ) -> Row:
        """Begin a life."""
        self._remove_ended()
        shared, now = self.shared, self.now()
        if kind == "replica" and not any(one.kind == "replica" and one.until > now for one in shared.replicas.values()):
            shared.since = now
            shared.circuit.clear()
            shared.missing_dossiers.clear()
        if former in shared.replicas:
            shared.replicas[former].timeline = self.timeline
        life = shared.replicas.setdefault(epoch, Replica(0.0, kind, shared.timeline))
        life.until = now + seconds
        return shared.since, None, None, None, now, self._unsettled()

    def renew_replica(self, epoch: UUID, seconds: float, event: int | None, digest: str | None) -> Row:
        """Extend a life."""
        shared, now = self.shared, self.now()
        behind = bool(event) and self._hash(event) != digest
        life = shared.replicas.get(epoch)
        alive, settled = life is not None and not life.ended, True
        if life is not None and alive:
            life.until, life.timeline = now + seconds, self.timeline
            life.marked = None if event is None else (event, digest or "")
            if behind:
                self._begin_recovery()
            elif self._unsettled():
                settled = self._call_roll()
            alive = not life.ended
        self._remove_ended()
        row = self.connection.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
        return alive, settled, behind, now, *(row or (None, None))

    def leave_replica(self, epoch: UUID) -> None:
        """End a life."""
        self.shared.replicas.pop(epoch, None)
        self._forget([epoch])
        self.shared.duties = {name: one for name, one in self.shared.duties.items() if one[0] != epoch}

    def _remove_ended(self) -> None:
        if not self._unsettled():
            over = [epoch for epoch, one in self.shared.replicas.items() if one.until <= self.now()]
            for epoch in over:
                del self.shared.replicas[epoch]
            self._forget(over)

    def _forget(self, epochs: Iterable[UUID]) -> None:
        shared, ended = self.shared, set(epochs)
        shared.driving = {uid: epoch for uid, epoch in shared.driving.items() if epoch not in ended}
        shared.missing_images = {key: one for key, one in shared.missing_images.items() if key[1] not in ended}

    # -- the loss of transactions ------------------------------------------------------------------------------------

    def snapshot(self) -> Callable[[], None]:
        """The current state. Call the result for a failover to a server that has only this state."""
        kept, shared = sqlite3.connect(":memory:"), deepcopy(self.shared)
        self.connection.backup(kept)

        def fail_over() -> None:
            kept.backup(self.connection)
            self.shared = deepcopy(shared)
            self.timeline += 1

        return fail_over

    def _unsettled(self) -> bool:
        return self.shared.timeline != self.timeline

    def _hash(self, event: int | None) -> str | None:
        row = self.connection.execute("SELECT hash FROM events WHERE id = ?", (event,)).fetchone()
        return None if row is None else row[0]

    def _call_roll(self) -> bool:
        lives = [one for one in self.shared.replicas.values() if one.kind == "replica" and not one.ended]
        silent = [one for one in lives if one.timeline != self.timeline]
        if any(one.until > self.now() for one in silent):
            return False
        if silent or not any(one.timeline == self.timeline and one.marked for one in lives):
            self._begin_recovery()
        else:
            self.shared.timeline = self.timeline
        return True

    def _begin_recovery(self) -> None:
        run, now = self.connection.execute, self.now()
        run("UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL", (now,))
        run(_BEGIN_RECOVERY, (now,))
        (identity,) = run("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        earlier = run("SELECT value FROM meta WHERE key = 'identities'").fetchone()
        run("INSERT OR REPLACE INTO meta VALUES ('identities', ?)", (" ".join([*(earlier or ()), identity]),))
        run("UPDATE meta SET value = ? WHERE key = 'identity'", (f"{int(now * 1000):016x}",))
        for one in self.shared.replicas.values():
            one.ended = one.ended or one.kind == "replica"
        self.shared.timeline = self.timeline

    # -- claims ----------------------------------------------------------------------------------------------------

    def is_free(self, uid: str) -> bool:
        """True if no replica that lives has claimed the request."""
        return self.shared.driving.get(uid) not in self.shared.replicas

    def claim_due(
        self,
        epoch: UUID,
        moment: float,
        most: int,
        working: list[str],
        parked: list[str],
        wanted: list[str],
        started_only: bool,
        decided: bool,
    ) -> list[Row]:
        """Claim due requests."""
        if not self.holds_lease(epoch):
            return [(None,) * 5]
        self._keep_claims(epoch, working)
        unwanted, chosen = {*parked, *working}, list[str]()
        if decided:
            chosen = self._free(_DECIDED, (moment, moment), unwanted, most)
        else:
            for kind in (2, 1, 0):
                free = self._free(_DUE, (kind, moment, started_only), unwanted, most)
                free = free[: max(most - len(chosen), most - most // 4)]
                chosen = free + chosen[: most - len(free)]
            chosen += [uid for uid in wanted if uid not in unwanted and uid not in chosen]
        found: list[Row] = []
        for uid in chosen:
            if self.is_free(uid) or self.shared.driving[uid] == epoch:
                self.shared.driving[uid] = epoch
                sql = "SELECT uid, record, seq, head, salt FROM requests WHERE uid = ? AND (? OR due_at <= ?)"
                found += self.connection.execute(sql, (uid, uid in wanted, moment))
        return found

    def _free(self, sql: str, values: Row, unwanted: set[str], most: int) -> list[str]:
        rows = self.connection.execute(sql, values)
        return [uid for (uid,) in rows if uid not in unwanted and self.is_free(uid)][:most]

    def _keep_claims(self, epoch: UUID, working: Sequence[str]) -> None:
        kept, driving = set(working), self.shared.driving
        self.shared.driving = {uid: one for uid, one in driving.items() if one != epoch or uid in kept}

    def next_due(self, epoch: UUID, skipped: list[str], started_only: bool) -> float | None:
        """When the next free request is due."""
        for uid, due in self.connection.execute(_NEXT, (started_only,)):
            if uid not in skipped and (self.is_free(uid) or self.shared.driving[uid] == epoch):
                return float(due)
        return None

    def release(self, epoch: UUID, working: list[str]) -> bool:
        """Release all other claims."""
        held = self.holds_lease(epoch)
        if held:
            self._keep_claims(epoch, working)
        return held

    # -- writes ----------------------------------------------------------------------------------------------------

    def commit_batch(self, epoch: UUID, *arguments: Any) -> Row:
        """Write the steps of a group commit: `done`, `moved` or `fenced`."""
        if not self.holds_lease(epoch) or self._unsettled():
            return "fenced", None
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            last = write_batch(self.connection, arguments)
        except Moved:
            self.connection.execute("ROLLBACK")
            return "moved", None
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return "done", last

    def execute_all(self, epoch: UUID, texts: list[str], rows: str) -> list[int] | Any:
        """Execute statements in one transaction."""
        if not self.holds_lease(epoch):
            return None
        counts = []
        self.connection.execute("BEGIN IMMEDIATE")
        for text, values in zip(texts, orjson.loads(rows), strict=True):
            if text.startswith("UPDATE fleet"):
                self.shared.timeline = self.timeline
                counts.append(1)
            elif text.startswith("UPDATE replicas"):
                self._end_others(epoch)
                counts.append(1)
            else:
                sql = _of_sqlite(text)
                counts.append(self.connection.executemany(sql, [[*map(_unquoted, row)] for row in values]).rowcount)
        self.connection.execute("COMMIT")
        return (counts,)

    def _end_others(self, epoch: UUID) -> None:
        for other, one in self.shared.replicas.items():
            one.ended = one.ended or (one.kind == "replica" and other != epoch)

    def begin_store(self, epoch: UUID, facts: str) -> bool:
        """Write the facts that are missing."""
        if not self.holds_lease(epoch):
            return False
        sql = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
        written = [self.connection.execute(sql, pair).rowcount for pair in orjson.loads(facts).items()]
        return all(written)

    def _starts(self, day: float) -> int:
        taken = sum(one == day and not self._counted(*key) for key, one in self.shared.taken.items())
        return int(self.connection.execute(_STARTS, (day,)).fetchone()[0]) + taken

    def _counted(self, uid: str, generation: int) -> bool:
        sql = "SELECT 1 FROM {} WHERE uid = ? AND generation = ?"
        tables = ("reservations", "starts")
        return any(self.connection.execute(sql.format(one), (uid, generation)).fetchone() for one in tables)

    def take_start(self, epoch: UUID, uid: str, generation: int, day: float, most: int) -> Row:
        """Take one start of the budget."""
        if not self.holds_lease(epoch):
            return None, None
        taken = self._starts(day)
        sql = "SELECT 1 FROM reservations WHERE uid = ? AND generation = ? AND at >= ?"
        granted = self.shared.taken.get((uid, generation)) == day
        granted = granted or self.connection.execute(sql, (uid, generation, day)).fetchone() is not None
        if not granted and taken < most:
            self.shared.taken[uid, generation] = day
            granted, taken = True, taken + 1
        return granted, taken


@cache
def _of_sqlite(sql: str) -> str:
    """A statement of the driver, as SQLite reads it."""
    if " = ANY($1" in sql:
        sql = re.sub(r" = ANY\(\$1::text\[\]\)", " IN (SELECT value FROM json_each(?1))", sql)
    return re.sub(r"\$(\d+)", r"?\1", sql.replace("%L", "?").replace("%%", "%"))


def _bound(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, list) else value


def _unquoted(text: str | None) -> Any:
    return bytes.fromhex(text[2:]) if text is not None and text.startswith("\\x") else text
