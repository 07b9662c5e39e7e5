"""The store on SQLite: opening and all writes. The reads of the loops are in `loop_reads.py`."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from agent.core.admission import ScanNote
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision
from agent.core.step import Step
from agent.ports import Command, MetaKey, Receipt
from agent.store.account_binding import simulated
from agent.store.audit.checkpoints import Checkpoint
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.identity_key import Keys
from agent.store.revisions import after_refresh
from agent.store.sqlite.account_binding import account_of, bind
from agent.store.sqlite.audit.checkpoints import Checkpoints
from agent.store.sqlite.claims import Claims
from agent.store.sqlite.connection import (
    Connection,
    folder_error,
    open_reader,
    open_writer,
    refuse_sparse_shm,
    sqlite3,
    store_error,
)
from agent.store.sqlite.group_commit import Writer
from agent.store.sqlite.image_deletions import ImageDeletions
from agent.store.sqlite.inbox import SqliteInbox, record_receipt
from agent.store.sqlite.integrity import check_integrity, is_small, refuse_unreadable, refuse_unverified
from agent.store.sqlite.lock import StoreLock
from agent.store.sqlite.loop_queries import LoopQueries
from agent.store.sqlite.loop_reads import LoopReads
from agent.store.sqlite.migrations import create_if_missing, migrate
from agent.store.sqlite.operator_commands import record_command, seal_empty_chain
from agent.store.sqlite.outbox import SqliteOutbox
from agent.store.sqlite.recoveries import SqliteRecoveries
from agent.store.sqlite.replaced_files import forget_in
from agent.store.sqlite.revisions import write_acted, write_refresh
from agent.store.sqlite.rollback_detection import key_of, open_marked
from agent.store.sqlite.secure_delete import forget_request, truncate
from agent.store.sqlite.step_writer import StepWriter

_TRUNCATIONS = 10  # tries to truncate the log while another connection reads, 50 ms apart


class SqliteStore(LoopReads):
    """The store of a running agent. Opening it takes the lock."""

    def __init__(
        self,
        path: Path,
        account: str | None,
        observe: Callable[[float, int], None] | None = None,
        rebind: bool = False,
        sinks: Sequence[str] = (),
        claims_key: str = "",
    ) -> None:
        """Open or create the file for this account (base URL and client id). `rebind` moves it from another account.

        `account` is None for commands that call nothing at Assure; they open the file of any account. `sinks` receive
        the notifications of each commit. `claims_key` is CLAIMS_KEY.

        Raises StoreLocked, StoreNewer, StoreForeign, StoreDamaged or StoreError, and changes nothing then.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_sparse_shm(path.parent)
            self._lock = StoreLock(path)
        except OSError as error:
            raise folder_error(path.parent, error) from None
        try:
            self._open(path, account, observe, rebind, sinks)
            self.claims = Claims(ClaimsKeyring.for_store(path, claims_key), self._writer, self.reads.query)
        except BaseException:
            self._lock.release()
            raise

    def _open(
        self,
        path: Path,
        account: str | None,
        observe: Callable[[float, int], None] | None,
        rebind: bool,
        sinks: Sequence[str],
    ) -> None:
        self.path = path
        fresh = create_if_missing(path)
        self._lock.hold()
        connection = open_writer(path)
        try:
            refuse_unreadable(path, connection)
            key_there = Keys.existing(path) is not None
            migrate(connection)
            refuse_unverified(path, connection)
            if account is not None:
                bind(connection, account, rebind)
            self.simulated = simulated(account_of(connection))
            self.keys = key_of(connection, path)
            self._mark = open_marked(connection, path, fresh, key_there, self.keys)
            seal_empty_chain(connection, self.keys)
            self.reads = LoopQueries(path, open_reader(path))
        except (sqlite3.DatabaseError, OSError) as error:
            connection.close()
            raise store_error(path, error) from None
        except BaseException:
            connection.close()
            raise
        self._fully_checked = is_small(path)
        self._connection = connection
        self._steps = StepWriter(self.keys, sinks)
        self._writer = Writer(connection, self._steps, observe, self._lock.confirm, self._mark.advance)
        self.recoveries = SqliteRecoveries(self.reads.query, self._writer, fresh)
        self._checkpoints = Checkpoints(path)
        self.inbox = SqliteInbox(self.reads.query, self._writer)
        self.outbox = SqliteOutbox(self.reads.query, self._writer)
        self.image_deletions = ImageDeletions(self.reads.query, self._writer)

    def close(self) -> None:
        """Write the queued work, close the file, and release the lock."""
        self._writer.close()
        self.reads.close()
        self._connection.close()
        self._mark.close()
        self._lock.release()

    async def check_integrity(self) -> None:
        """Check the pages that were not checked at opening, while the store is in use. Raises StoreDamaged."""
        if not self._fully_checked:
            await check_integrity(self.path)
            self._fully_checked = True

    # -- commits ---------------------------------------------------------------------------------------------

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Write these steps and the receipt of their event, all or none. Raises Moved."""

        def work(connection: Connection) -> None:
            if receipt is not None:
                record_receipt(connection, receipt)

        await self._writer.commit(steps, None if receipt is None else work)
        for step in steps:
            if step.encrypted_claims is not None:
                self.claims.keyring.committed(step.encrypted_claims)

    async def record_scan(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        scan_notes: Iterable[ScanNote] | None = None,
        revision: Revision | None = None,
    ) -> None:
        """Store the result of a scan. `refusals` (file, line, column, message, hint, name) and `scan_notes` replace
        the earlier ones, if given. `revision` of a git source becomes the one that the agent acts on.
        """
        rows = None if refusals is None else [(source, *refusal) for refusal in refusals]
        noted = None if scan_notes is None else [(source, one.uid, one.kind, one.hold_id) for one in scan_notes]

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO sources (source, synced_at, files, complete, waiting) VALUES (?, ?, ?, ?, ?)",
                (source, at, files, complete, waiting),
            )
            if rows is not None:
                connection.execute("DELETE FROM refusals WHERE source = ?", (source,))
                connection.executemany("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if noted is not None:
                connection.execute("DELETE FROM scan_notes WHERE source = ?", (source,))
                connection.executemany("INSERT INTO scan_notes VALUES (?, ?, ?, ?)", noted)
            if revision is not None:
                write_acted(connection, source, at, revision)

        await self._writer.write(work)

    async def record_refresh(
        self, source: str, at: float, fetched: bool, refused: RefusedRevision | None, failure: FetchFailure | None
    ) -> None:
        """Record the result of a refresh. `fetched`: the server reported its head. Writes nothing if nothing changed,
        but `fetched_at` once a minute. A failed refresh clears no refusal.
        """
        known = self.reads.revision_state(source)
        result = (at, fetched, refused, failure)
        if after_refresh(known, *result) != known:
            await self._writer.write(lambda connection: write_refresh(connection, source, *result))

    async def remember(self, key: MetaKey, value: str | float | None) -> None:
        """Keep a text or a time. None removes it."""
        values: tuple[object, ...]
        if value is None:
            sql, values = "DELETE FROM meta WHERE key = ?", (key,)
        else:
            sql, values = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value)
        await self._writer.write(lambda connection: connection.execute(sql, values))

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """Close a possible orphan: its deletion is confirmed, or it never appeared."""
        sql = "UPDATE orphans SET closed_at = ?, dossier_id = coalesce(?, dossier_id) WHERE reference = ?"
        await self._writer.write(lambda connection: connection.execute(sql, (at, dossier_id, reference)))

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """Record the dossier of a possible orphan. The agent deletes it, unless a request has it."""
        sql = "UPDATE orphans SET dossier_id = ? WHERE reference = ?"
        await self._writer.write(lambda connection: connection.execute(sql, (dossier_id, reference)))

    async def checkpoint(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a checkpoint if the journal grew since the last one [I5]. Raises MalformedCheckpoint."""
        try:
            taken = await asyncio.to_thread(self._checkpoints.take, at)
        except sqlite3.Error as error:
            raise store_error(self.path, error) from None
        if taken:
            await self._note(taken[-1])
        return taken

    async def record_restore(self, at: float) -> Checkpoint:
        """Add a checkpoint for a restore by the operator: the journal continues at an earlier event."""
        line = await asyncio.to_thread(self._checkpoints.record_restore, at)
        await self._note(line)
        return line

    async def _note(self, line: Checkpoint) -> None:
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
        await self._writer.write(
            lambda connection: connection.execute(sql, (MetaKey.CHECKPOINT, f"{line.number} {line.hash}"))
        )

    # -- commands ----------------------------------------------------------------------------------------------

    async def apply_command(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Write a command, its answer and its steps in one transaction, so that the command is executed once."""

        def work(connection: Connection) -> None:
            record_command(connection, self.keys, command, answer, at)
            if command.uid is not None:
                self._steps.forget(command.uid)

        await self._writer.commit(steps, work)

    # -- erasure ----------------------------------------------------------------------------------------

    async def has_pending_image_deletions(self, uid: str) -> bool:
        """True if an image file of an earlier generation is still to be deleted."""
        return await self.image_deletions.has_pending(uid)

    async def make_claims_unreadable(self, uid: str) -> bool:
        """Make the claims of a request unreadable in this file and in every copy. True: it had claims."""
        leaving = await self.claims.make_all_unreadable(uid)
        await self.claims.erase(leaving)
        return bool(leaving)

    async def forget(self, uid: str, at: float) -> bool:
        """Erase the name, labels, paths and file of a done request. Its history stays valid, and records the erasure.

        False: another connection reads, so the write-ahead log still has them until `tidy`.
        """

        def work(connection: Connection) -> None:
            forget_request(connection, self.keys, uid, at)
            self._steps.forget(uid)

        await self._writer.write(work)
        for _ in range(_TRUNCATIONS):
            if await self.tidy():
                return True
            await asyncio.sleep(0.05)
        return False

    async def forget_in_replaced(self, uid: str, at: float) -> list[Path]:
        """Erase the same in the files that `restore` set aside. Returns the files where that failed."""
        return await asyncio.to_thread(forget_in, self.path, self.keys, uid, at)

    async def tidy(self) -> bool:
        """Truncate the write-ahead log with all erased data. False: another connection still reads an earlier state."""
        done: list[bool] = []
        await self._writer.write(lambda connection: done.append(truncate(connection)), alone=True)
        return done[0]
