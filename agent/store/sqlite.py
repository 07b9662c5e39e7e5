"""The store on SQLite: opening with all its refusals, commits, and the queries of the loops."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from agent.core.admission import Remark
from agent.core.errors import StoreError, StoreForeign
from agent.core.machine import Step
from agent.core.record import HoldReason, Record
from agent.ports import Command, Waiting
from agent.store.audit.checkpoints import NOTE, Checkpoint, Checkpoints
from agent.store.claims import Claims
from agent.store.connection import Connection, FileLock, open_reader, open_writer, refuse_holes, sqlite3, unusable
from agent.store.continuity import continued, key_of
from agent.store.erasing import erase_names, truncate
from agent.store.keys import Keys
from agent.store.migrations import begun, migrate
from agent.store.post import Inbox, Outbox
from agent.store.recoveries import RecordedRecoveries
from agent.store.rows import PRESENT, REMEMBERED, columns, erased, load, write
from agent.store.soundness import is_small, look_through, refuse_unreadable, refuse_unverified
from agent.store.vault import Vault
from agent.store.writer import Writer


def _unobserved(_: float, __: int) -> None:
    return None


_TRUNCATIONS = 10  # times that a reader who is nearly done is waited for, 50 ms each

# While paused nothing new is begun; what has a dossier, or may have one, keeps its privacy clock.
_BEGUN = {False: "", True: "AND opened_at IS NOT NULL"}

_OBSERVED = {False: "", True: "AND phase IN ('result', 'deletion')"}  # what goes on by itself while paused


_HEALING = tuple(sorted(reason for reason in HoldReason if reason.heals))

# Which index serves is said wherever SQLite, which knows nothing of the numbers, takes one that grows.
_PATIENT = """
SELECT uid FROM requests INDEXED BY requests_queued WHERE queued
UNION SELECT uid FROM requests INDEXED BY requests_held WHERE hold_reason IN (?, ?)
"""
_WAITING_IN = """
SELECT uid FROM requests INDEXED BY requests_waiting
WHERE phase = 'result' AND dossier_id IN (SELECT value FROM json_each(?))
"""
_WAITING = """
SELECT (SELECT coalesce(sum(requests), 0) FROM census WHERE phase = 'result'),
    (SELECT min(opened_at) FROM requests INDEXED BY requests_waiting_since WHERE phase = 'result')
"""

_NEEDED = """
SELECT needing.uid, json_extract(image.value, '$.path'), json_extract(image.value, '$.sha256')
FROM (
    SELECT uid, record FROM requests INDEXED BY requests_open WHERE phase <> 'done'
    UNION ALL
    SELECT uid, record FROM requests INDEXED BY requests_held WHERE phase = 'done' AND hold_reason IS NOT NULL
) AS needing,
json_each(json_array(json_extract(record, '$.desired.images'), json_extract(record, '$.next.images'))) AS document,
json_each(document.value) AS image
"""


class SqliteStore:
    """The agent's store. Opening it takes the lock; reads see what is committed."""

    def __init__(
        self,
        path: Path,
        account: str | None,
        observe: Callable[[float, int], None] = _unobserved,
        rebind: bool = False,
        sinks: Sequence[str] = (),
        claims_key: str = "",
    ) -> None:
        """Open or create the file for this account (base URL and client id); `rebind` takes it from another one.

        Without an account it is opened whoever it belongs to: for commands that ask nothing of Assure.
        What the `sinks` are to be told is written with each change. `claims_key` is CLAIMS_KEY.

        Raises StoreLocked, StoreNewer, StoreForeign, StoreDamaged or StoreError; nothing is changed then.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_holes(path.parent)
            self._lock = FileLock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise StoreError(
                f"The state folder {path.parent} cannot be written: {error.strerror}.",
                "give the agent a folder it may write to, with room in it, or set STATE_URL",
            ) from None
        try:
            self._open(path, account, observe, rebind)
            self._sinks = tuple(sinks)
            self.claims = Claims(Vault.beside(path, claims_key), self._writer, self._query)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, path: Path, account: str | None, observe: Callable[[float, int], None], rebind: bool) -> None:
        fresh = begun(path)
        connection = open_writer(path)
        try:
            refuse_unreadable(path, connection)
            key_there = Keys.existing(path) is not None
            migrate(connection)
            refuse_unverified(path, connection)
            if account is not None:
                _bind(connection, account, rebind)
            self.keys = key_of(connection, path)
            self._mark = continued(connection, path, fresh, key_there, self.keys)
            self._reader = open_reader(path)
        except (sqlite3.DatabaseError, OSError) as error:
            connection.close()
            raise unusable(path, error) from None
        except BaseException:
            connection.close()
            raise
        self.path = path
        self._seen_whole = is_small(path)
        self._connection = connection
        self._reading = threading.Lock()  # the source loop reads from a thread of its own
        self._writer = Writer(connection, observe, self._mark.advance)
        self.recoveries = RecordedRecoveries(self._query, self._writer, fresh)
        self._checkpoints = Checkpoints(path)
        self.inbox = Inbox(self._query, self._writer)
        self.outbox = Outbox(self._query, self._writer)

    def close(self) -> None:
        """Write what is queued, checkpoint, and let another agent have the file."""
        self._writer.close()
        with self._reading:
            self._reader.close()
        self._connection.close()
        self._mark.close()
        self._lock.release()

    async def look_through(self) -> None:
        """Look at what was not looked at when it was opened; the store is in use meanwhile. Raises StoreDamaged."""
        if not self._seen_whole:
            await look_through(self.path)
            self._seen_whole = True

    # -- commits ---------------------------------------------------------------------------------------------

    async def commit(self, steps: Sequence[Step]) -> None:
        """Make these steps durable, all or none."""

        def work(connection: Connection) -> None:
            for step in steps:
                write(connection, step, self._sinks)

        await self._writer.write(work)
        for step in steps:
            if step.sealed is not None:
                self.claims.vault.committed(step.sealed)

    async def scanned(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        remarks: Iterable[Remark] | None = None,
    ) -> None:
        """Note what a scan saw. `refusals` (file, line, column, message, hint, name) and `remarks` replace the earlier
        ones, if given.
        """
        rows = None if refusals is None else [(source, *refusal) for refusal in refusals]
        noted = None if remarks is None else [(source, one.uid, one.kind, one.about) for one in remarks]

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO sources (source, synced_at, files, complete, waiting) VALUES (?, ?, ?, ?, ?)",
                (source, at, files, complete, waiting),
            )
            if rows is not None:
                connection.execute("DELETE FROM refusals WHERE source = ?", (source,))
                connection.executemany("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if noted is not None:
                connection.execute("DELETE FROM remarks WHERE source = ?", (source,))
                connection.executemany("INSERT INTO remarks VALUES (?, ?, ?, ?)", noted)

        await self._writer.write(work)

    async def remember(self, key: str, value: str) -> None:
        """Keep a text for this account; it is forgotten when the store is bound to another one."""
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
        await self._writer.write(lambda connection: connection.execute(sql, (REMEMBERED + key, value)))

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """A possible orphan was deleted and confirmed, or never showed."""
        sql = "UPDATE orphans SET closed_at = ?, dossier_id = coalesce(?, dossier_id) WHERE reference = ?"
        await self._writer.write(lambda connection: connection.execute(sql, (at, dossier_id, reference)))

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """A possible orphan showed; its deletion is intended from here on."""
        sql = "UPDATE orphans SET dossier_id = ? WHERE reference = ?"
        await self._writer.write(lambda connection: connection.execute(sql, (dossier_id, reference)))

    async def checkpoint(self, at: float) -> tuple[Checkpoint, ...]:
        """Write down beside the file what its journal is, if it grew since the last time [I5]. Raises Garbled."""
        try:
            taken = await asyncio.to_thread(self._checkpoints.take, at)
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None
        if taken:
            await self._note(taken[-1])
        return taken

    async def restored(self, at: float) -> Checkpoint:
        """Write down that a person put an older copy of the file in place: its later history is given up, and told."""
        line = await asyncio.to_thread(self._checkpoints.restored, at)
        await self._note(line)
        return line

    async def _note(self, line: Checkpoint) -> None:
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
        await self._writer.write(lambda connection: connection.execute(sql, (NOTE, f"{line.number} {line.hash}")))

    def _query(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        try:
            with self._reading:
                return self._reader.execute(sql, values).fetchall()  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None

    # -- the queries of the loops ----------------------------------------------------------------------------

    def get(self, uid: str) -> Record | None:
        """The record of this uid."""
        rows = self._query("SELECT record FROM requests WHERE uid = ?", (uid,))
        return load(rows[0][0]) if rows else None

    def present(self, source: str) -> dict[str, str]:
        """The names of a source whose files are there, as far as we know, with their uids."""
        return dict(self._query(PRESENT, (source,)))

    def unsettled(self, begun: bool = False) -> bool:
        """True while some request goes on by itself."""
        return bool(self._query(f"SELECT 1 FROM requests WHERE moving {_OBSERVED[begun]} LIMIT 1"))  # noqa: S608 - ours

    def claim(self, now: float, limit: int, busy: set[str], begun: bool = False) -> list[Record]:
        """At most `limit` records that are due and not busy: new work first, then what is tried again, then looks.

        Whatever there is of one kind, a quarter of the places is left to the kinds after it.
        """
        sql = f"""
            SELECT uid, record FROM requests WHERE priority = ? AND due_at <= ? {_BEGUN[begun]}
            ORDER BY due_at, admitted_at LIMIT ?
        """  # noqa: S608 - ours
        claimed: list[str] = []
        for priority in (2, 1, 0):
            rows = self._query(sql, (priority, now, limit + len(busy)))
            free = [text for uid, text in rows if uid not in busy]
            first = free[: max(limit - len(claimed), limit - limit // 4)]
            claimed = first + claimed[: limit - len(first)]
        return [load(text) for text in claimed]

    def overdue(self, now: float, limit: int, busy: set[str]) -> list[Record]:
        """Those whose deadline or hold has run out before their outcome, while nothing is sent (design §4)."""
        sql = """
            SELECT uid, record FROM requests
            WHERE decides_at <= :now AND due_at <= :now ORDER BY decides_at LIMIT :limit
        """
        rows = self._query(sql, {"now": now, "limit": limit + len(busy)})
        return [load(text) for uid, text in rows if uid not in busy][:limit]

    def creating(self) -> list[Record]:
        """Those without a dossier whose creation was asked for at least once."""
        rows = self._query("SELECT record FROM requests WHERE phase = 'dossier' AND opened_at IS NOT NULL")
        return [load(row[0]) for row in rows]

    def next_due(self, busy: set[str], begun: bool = False) -> float | None:
        """When the next record that is not busy is due."""
        sql = f"""
            SELECT uid, due_at FROM requests WHERE priority = ? AND due_at IS NOT NULL {_BEGUN[begun]}
            ORDER BY due_at LIMIT ?
        """  # noqa: S608 - ours
        times = []
        for priority in (0, 1, 2):
            rows = self._query(sql, (priority, len(busy) + 1))
            times += [due_at for uid, due_at in rows if uid not in busy][:1]
        return min(times, default=None)

    def waiting(self) -> Waiting:
        """What waits for a result."""
        row = self._query(_WAITING)[0]
        return Waiting(count=row[0], since=row[1] or 0.0)

    def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of those that wait for a result in one of these dossiers."""
        return [row[0] for row in self._query(_WAITING_IN, (orjson.dumps(dossiers).decode(),))]

    def oldest_looks(self, limit: int) -> list[str]:
        """Those that wait for a result, the ones that will be looked at last first."""
        sql = "SELECT uid FROM requests WHERE phase = 'result' ORDER BY read_at NULLS FIRST, due_at LIMIT ?"
        return [row[0] for row in self._query(sql, (limit,))]

    def reserved_since(self, at: float) -> int:
        """How many starts were reserved since then."""
        return int(self._query("SELECT count(*) FROM reservations WHERE at >= ?", (at,))[0][0])

    def patient(self) -> list[str]:
        """The uids of those that wait for the budget, or for their images."""
        return [row[0] for row in self._query(_PATIENT, _HEALING)]

    def discards(self) -> list[str]:
        """The uids of those whose image files are to be deleted, because their outcome is durable."""
        return [row[0] for row in self._query("SELECT uid FROM discards ORDER BY since")]

    def needed_images(self) -> dict[str, set[str]]:
        """The uids of open requests, and of those about which a person is asked, by the images that they name.

        An image is there twice: by its path, and by its digest.
        """
        needed: dict[str, set[str]] = {}
        for uid, *marks in self._query(_NEEDED):
            for mark in marks:
                needed.setdefault(mark, set()).add(uid)
        return needed

    async def shut_claims(self, uid: str) -> bool:
        """Make the claims of a request unreadable in this file and in every copy. True: there were any."""
        leaving = await self.claims.shut_all(uid)
        await self.claims.erase(leaving)
        return bool(leaving)

    def last_event_at(self) -> float:
        """When the last event was; 0 when there is none."""
        rows = self._query("SELECT at FROM events ORDER BY id DESC LIMIT 1")
        return float(rows[0][0]) if rows else 0.0

    # -- commands ----------------------------------------------------------------------------------------------

    def obeyed(self, command_id: str) -> str | None:
        """The answer to a command that was obeyed before."""
        rows = self._query("SELECT answer FROM commands WHERE id = ?", (command_id,))
        return str(rows[0][0]) if rows else None

    async def obey(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Make a command and its steps durable together, so that it is obeyed once."""

        def work(connection: Connection) -> None:
            for step in steps:
                write(connection, step, self._sinks)
            connection.execute(
                "INSERT INTO commands (id, at, verb, uid, answer) VALUES (?, ?, ?, ?, ?)",
                (command.id, at, command.verb, command.uid, answer),
            )

        await self._writer.write(work)

    async def forget(self, uid: str) -> bool:
        """Erase the names, labels, paths and file of a done request; its history stays, and stays valid.

        False: somebody reads the file just now, so that they stand in the write-ahead log until `tidy`.
        """

        def work(connection: Connection) -> None:
            (text,) = connection.execute("SELECT record FROM requests WHERE uid = ?", (uid,)).fetchone()
            record = erased(load(text))
            erase_names(connection, uid, record.version, columns(record)["record"])

        await self._writer.write(work)
        for _ in range(_TRUNCATIONS):
            if await self.tidy():
                return True
            await asyncio.sleep(0.05)
        return False

    async def tidy(self) -> bool:
        """Cut off the write-ahead log, and what was erased with it. False: somebody reads an earlier state just now."""
        done: list[bool] = []
        await self._writer.write(lambda connection: done.append(truncate(connection)), alone=True)
        return done[0]

    def recall(self, key: str) -> str | None:
        """What was remembered of this account under this key."""
        rows = self._query("SELECT value FROM meta WHERE key = ?", (REMEMBERED + key,))
        return str(rows[0][0]) if rows else None

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """Possible orphans that are still open: reference, since, and the dossier's id when it showed."""
        sql = "SELECT reference, since, dossier_id FROM orphans WHERE closed_at IS NULL"
        return [(row[0], row[1], row[2]) for row in self._query(sql)]

    def withdrawn_since(self, at: float) -> int:
        """How many files were taken away before the outcome since then, those that are back among them."""
        return int(self._query("SELECT count(*) FROM withdrawals WHERE at >= ?", (at,))[0][0])


def _bind(connection: Connection, account: str, rebind: bool) -> None:
    """Bind the file to the account. One under which nothing was ever asked of Assure is not bound yet."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'account'").fetchone()
    used = connection.execute("SELECT 1 FROM attempts LIMIT 1").fetchone() is not None
    if row is None or not used or rebind:
        if row is not None and row[0] != account:
            connection.execute("DELETE FROM meta WHERE key GLOB ?", (REMEMBERED + "*",))
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('account', ?)", (account,))
    elif row[0] != account:
        raise StoreForeign(
            f"The state file belongs to another Assure account ({row[0]}), not to {account}.",
            "set STATE_URL to a file of its own for this account, or take this one along with `run --rebind`",
        )
