"""The store on SQLite: opening, commits and erasure. `agent/store/writing` has the other writes."""

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from agent.core.step import Step
from agent.ports import Command, Receipt
from agent.store.audit.checkpoint_file import Checkpoints, LinesInFile
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.opening import open_checked
from agent.store.reading.common_reads import OPEN
from agent.store.reading.loop_reads import grouped
from agent.store.reading.reads import Query, answer
from agent.store.rollback_detection import LAST_EVENT, Witnesses
from agent.store.sqlite.connection import (
    Connection,
    folder_error,
    open_writer,
    reader,
    refuse_sparse_shm,
    sqlite3,
    store_error,
)
from agent.store.sqlite.copying import refuse_moved
from agent.store.sqlite.group_commit import Writer
from agent.store.sqlite.integrity import check_integrity, is_small, refuse_unreadable, refuse_unverified
from agent.store.sqlite.lock import StoreLock
from agent.store.sqlite.migrations import create_if_missing, migrate
from agent.store.sqlite.operator_commands import record_command
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.store.sqlite.replaced_files import forget_in
from agent.store.sqlite.secure_delete import forget_request, truncate
from agent.store.sqlite.sole_work import SoleWork
from agent.store.sqlite.step_writer import StepWriter
from agent.store.writing.inbox import receipt_statements
from agent.store.writing.statements import Statement
from agent.store.writing.store_writes import StoreWrites

NEEDED_IMAGES = f"""
SELECT needing.uid, json_extract(image.value, '$.path'), json_extract(image.value, '$.sha256')
FROM (
    SELECT uid, record FROM {OPEN}
    UNION ALL
    SELECT uid, record FROM requests INDEXED BY requests_held WHERE phase = 'done' AND hold_reason IS NOT NULL
) AS needing,
json_each(json_array(json_extract(record, '$.desired.images'), json_extract(record, '$.next.images'))) AS document,
json_each(document.value) AS image
"""  # noqa: S608 - constant
_TRUNCATIONS = 10  # tries to truncate the log while another connection reads, 50 ms apart


class SqliteStore(SoleWork, StoreWrites):
    """The store of a running agent. Opening it takes the lock."""

    shared = False
    running_since = math.inf  # no other agent ran before this process
    leftover = (
        "Another process (sqlite3, Datasette) reads the state file, so its write-ahead log keeps the old rows. "
        "End that process: a running agent tries every minute to truncate the log"
    )

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
            fresh = self._open(path, account, observe, rebind, sinks)
            keyring = ClaimsKeyring.for_store(path, claims_key)
            self._begin_writes(fresh, Checkpoints(LinesInFile(path), lambda: reader(path)), keyring)
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
    ) -> bool:
        """Open the file. True: this process created it."""
        self.path = path
        refuse_moved(path)
        fresh = create_if_missing(path)
        self._lock.hold()
        connection = open_writer(path)
        try:
            refuse_unreadable(path, connection)
            seen = Witnesses.of_file(path)
            migrate(connection)
            refuse_unverified(path, connection)
            opening = open_checked(path, f"state file {path}", fresh, seen, account, rebind)
            checked = answer(opening, lambda query: connection.execute(query.sql, query.values).fetchall())
            self.simulated, self.keys, self._mark = checked.simulated, checked.keys, checked.mark
            connection.execute("BEGIN IMMEDIATE")
            _execute(connection, checked.statements)
            connection.execute("COMMIT")
            self._reads = ReadOnlyStore(path)
        except (sqlite3.DatabaseError, OSError) as error:
            connection.close()
            raise store_error(path, error) from None
        except BaseException:
            connection.close()
            raise
        self._fully_checked = is_small(path)
        self._connection = connection
        self._steps = StepWriter(self.keys, sinks)
        self._writer = Writer(connection, self._steps, observe, self._lock.confirm, self._advance_mark)
        return fresh

    def _advance_mark(self, connection: Connection) -> None:
        self._mark.advance(connection.execute(LAST_EVENT).fetchone()[0])

    def watch(self, failed: Callable[[Exception], None], changed: Callable[[str | None], None]) -> None:
        """Nothing: each commit checks that this agent still has the lock."""

    async def confirm_ownership(self) -> bool:
        """True: this process has the lock of the file as long as it lives."""
        return True

    async def release(self, working: Collection[str]) -> None:
        """Nothing: one agent has the file, so no other one waits for its records."""

    def begin_end(self) -> None:
        """Nothing: a state file never lets a caller wait."""

    async def aclose(self) -> None:
        """Write the queued work, and let another process have the file."""
        self.close()

    def close(self) -> None:
        """Write the queued work, close the file, and release the lock."""
        self._writer.close()
        self._reads.close()
        self._connection.close()
        self._mark.close()
        self._lock.release()

    async def check_integrity(self) -> None:
        """Check the pages that were not checked at opening, while the store is in use. Raises StoreDamaged."""
        if not self._fully_checked:
            await check_integrity(self.path)
            self._fully_checked = True

    # -- queries and statements ----------------------------------------------------------------------------------

    async def query(self, query: Query) -> list[Any]:
        """The rows of a query. SQLite answers at once, so no other task runs in between."""
        return self._reads.query(query.sql, query.values)

    async def execute(self, *statements: Statement) -> list[int]:
        """Execute these in their order in one transaction, durably. Returns how many rows each one changed."""
        counts: list[int] = []
        await self._writer.write(lambda connection: counts.extend(_execute(connection, statements)))
        return counts

    async def needed_images(self) -> dict[str, set[str]]:
        """The uids of open and held requests by image, read in a thread. Each image has two keys: path and digest."""
        return grouped(await asyncio.to_thread(self._reads.query, NEEDED_IMAGES))

    # -- commits ---------------------------------------------------------------------------------------------

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Write these steps and the receipt of their event, all or none. Raises Moved."""

        def work(connection: Connection) -> None:
            if receipt is not None:
                _execute(connection, receipt_statements(receipt))

        await self._writer.commit(steps, None if receipt is None else work)
        for step in steps:
            if step.encrypted_claims is not None:
                self.claims.keyring.committed(step.encrypted_claims)

    # -- commands ----------------------------------------------------------------------------------------------

    async def apply_command(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Write a command, its answer and its steps in one transaction, so that the command is executed once."""

        def work(connection: Connection) -> None:
            record_command(connection, self.keys, command, answer, at)
            if command.uid is not None:
                self._steps.forget(command.uid)

        await self._writer.commit(steps, work)

    # -- erasure ----------------------------------------------------------------------------------------

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


def _execute(connection: Connection, statements: Sequence[Statement]) -> list[int]:
    """Execute these; the caller holds the transaction. Returns how many rows each one changed."""
    return [connection.executemany(one.sql, one.rows).rowcount for one in statements]
