"""The store on PostgreSQL: opening, commits and erasure. `agent/store/writing` has the other writes."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.core.errors import Fenced, SettingsError, StoreAway
from agent.core.record import Record
from agent.core.step import Step
from agent.platform.settings import Settings
from agent.ports import Command, MetaKey, Receipt
from agent.store.audit.checkpoint_file import Checkpoints
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.opening import Life, OpenedStore, open_checked
from agent.store.reading.common_reads import recall
from agent.store.reading.loop_reads import grouped
from agent.store.reading.reads import Query, Rows, answer_later
from agent.store.rollback_detection import Witnesses
from agent.store.writing.statements import Statement

from .checkpoints import LinesInTable
from .commits import Commits
from .connect import Server, open_pool
from .dialect import numbered, sent
from .driver import Pool
from .migrations import migrate_by
from .opening import (
    begin_facts,
    continue_mark,
    opening_statements,
    refuse_other_facts,
    refuse_unverified_requests,
)
from .ownership import Kind, Ownership
from .persistence import Persistence
from .reading import connected
from .replica_work import ReplicaWork
from .vacuum import vacuum

_CLOSING = 5.0  # seconds that the last commits wait for a server that is away
_LEAVING = 2.0  # seconds
_NEEDED = """
SELECT needing.uid, image ->> 'path', image ->> 'sha256'
FROM (
    SELECT uid, record::json AS record FROM requests WHERE phase < 'done' OR phase > 'done'
    UNION ALL
    SELECT uid, record::json FROM requests WHERE phase = 'done' AND hold_reason IS NOT NULL
) AS needing,
LATERAL (
    SELECT json_array_elements(coalesce(record #> '{desired,images}', '[]')) AS image
    UNION ALL
    SELECT json_array_elements(coalesce(record #> '{next,images}', '[]'))
) AS images
"""
_AWAY = "The database does not answer, so its tables keep the old rows. A running agent tries every minute"
_FORBIDDEN = (
    "The role of the agent may not VACUUM the tables, so they keep the old rows. "
    "Run VACUUM as the owner of the tables, or wait for autovacuum"
)


class PostgresStore(ReplicaWork):
    """The store of a replica, or of a command. Several processes may have it. A lease fences their writes [I7]."""

    def __init__(self, server: Server, pool: Pool, files: Path, lease: float, kind: Kind) -> None:
        """Use `open`."""
        self.server = server
        self._pool = pool
        self._persistence = Persistence(pool, str(server))
        self._files = files
        self.leftover = ""
        self._kind = kind
        self._owner = Ownership(self._persistence, lease, kind)
        super().__init__(self._persistence, self._owner)
        self._lost: asyncio.Future[Fenced] = asyncio.get_running_loop().create_future()
        self._ending = contextlib.AsyncExitStack()  # ends what `open` begins
        self._ending.push_async_callback(self._disconnect)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        account: str | None,
        observe: Callable[[float, int], None] | None = None,
        rebind: bool = False,
        sinks: Sequence[str] = (),
    ) -> "PostgresStore":
        """Open the database, and create or migrate its tables. Raises StoreError, and changes nothing then."""
        if settings.keeps_claims and settings.keys_dir is None:
            raise SettingsError(
                "CLAIMS_KEY is set, and STATE_URL names a database: its backups would keep the keys of claims.",
                "set KEYS_DIR to a folder that no backup of the database contains, or remove CLAIMS_KEY",
            )
        server = Server.of(settings)
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        pool = await open_pool(server)
        kind: Kind = "command" if account is None else "replica"
        store = cls(server, pool, settings.local_path, settings.replica_lease, kind)
        try:
            await store._open(settings, account, rebind, observe, sinks)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def _open(
        self,
        settings: Settings,
        account: str | None,
        rebind: bool,
        observe: Callable[[float, int], None] | None,
        sinks: Sequence[str],
    ) -> None:
        seen = Witnesses.of_replica(self._files, settings.key_file)
        where, upgrade = str(self.server), self._kind == "replica"
        await self._persistence.ask(lambda connection: migrate_by(connection, where, upgrade))
        witness = await self._join(seen)
        await refuse_unverified_requests(settings)
        checked, fresh = await self._check(settings, account, rebind, seen, witness)
        self.simulated, self.keys, self._mark = checked.simulated, checked.keys, checked.mark
        self._ending.callback(self._mark.close)
        observed = observe or (lambda seconds, callers: None)
        self._commits = Commits(self._persistence, self._owner, self.keys, sinks, observed, self._mark.advance)
        self._ending.push_async_callback(self._commits.close, _CLOSING)
        if checked.older:
            self._owner.forget()
        await self.execute(*opening_statements(checked, self._owner))
        if not await self._owner.restore():  # a roll call ends before any work
            raise self._owner.fenced()
        checkpoints = Checkpoints(LinesInTable(settings, self._owner), lambda: connected(settings), shared=True)
        keyring = ClaimsKeyring(settings.claims_keys_dir, settings.claims_key.get_secret_value())
        self._begin_writes(fresh, checkpoints, keyring)

    async def _join(self, seen: Witnesses) -> bool:
        """Begin the life. True: the mark of this machine shows that the store is current."""
        known = await answer_later(recall(MetaKey.IDENTITY), self.query)
        mark = seen.mark if seen.mark is not None and seen.mark.identity == known else None
        witness = continue_mark(mark, self._owner)
        await self._owner.join(patient=self._kind == "replica")
        keeping = asyncio.create_task(self._owner.keep(self._lost.set_result))
        self._ending.callback(keeping.cancel)
        return witness

    async def _check(
        self, settings: Settings, account: str | None, rebind: bool, seen: Witnesses, witness: bool
    ) -> tuple[OpenedStore, bool]:
        """The result of the checks, and True if this process created the store. Raises StoreError."""
        known = await answer_later(recall(MetaKey.IDENTITY), self.query)
        fresh = known is None and not await self.last_event_at()  # no agent has opened it
        if fresh:  # several replicas may find it so: the first one writes its identity
            new = {str(MetaKey.IDENTITY): secrets.token_hex(8)}
            fresh = await begin_facts(self._persistence, self._owner, new)
        others = await self._owner.others()
        unproved = self._owner.unsettled and not witness and not others
        life = Life(epoch=str(self._owner.epoch), others=others, unproved=unproved)
        opening = open_checked(
            self._files, f"database {self.server}", fresh, seen, account, rebind, settings.key_file, life
        )
        checked = await answer_later(opening, self.query)
        await refuse_other_facts(self._persistence, self._owner, checked.facts, settings)
        return checked, fresh

    @property
    def database_time(self) -> Callable[[], float]:
        """The time of the server, in seconds since the epoch."""
        return self._owner.time

    @property
    def behind(self) -> bool:
        """True if the database lacks an event that this replica knows to be durable."""
        return self._owner.behind

    @property
    def away(self) -> bool:
        """True while the server does not answer."""
        return self._persistence.away

    def watch(self, failed: Callable[[Exception], None], changed: Callable[[str | None], None]) -> None:
        """Wait for the server from now on, however long it is away."""
        self._persistence.watch(changed)
        self._persistence.limit(None)
        self._lost.add_done_callback(lambda lost: failed(lost.result()))

    def begin_end(self) -> None:
        """Wait at most some seconds for the server from now on, because the agent ends."""
        self._persistence.limit(_CLOSING)

    async def aclose(self) -> None:
        """Write the queued work, and let another process have the store."""
        self.begin_end()
        await self._ending.aclose()

    async def _disconnect(self) -> None:
        for end in (self._owner.leave, self._pool.close):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(end(), _LEAVING)
        self._pool.terminate()

    async def check_integrity(self) -> None:
        """The server checks its pages itself, with checksums."""

    # -- queries and statements ----------------------------------------------------------------------------------

    async def query(self, query: Query) -> Rows:
        """The rows of a query. It sees committed data. Waits while the server is away."""
        sql, values = numbered(query.sql), sent(query.values)
        rows: Rows = await self._persistence.ask(lambda connection: connection.fetch(sql, *values))
        return rows

    async def execute(self, *statements: Statement) -> list[int]:
        """Execute these in their order in one transaction, durably. Returns how many rows each one changed."""
        return await self._commits.execute(statements)

    async def needed_images(self) -> dict[str, set[str]]:
        """The uids of open and held requests by image. Each image has two keys: its path and its digest."""
        return grouped(await self.query(Query(_NEEDED)))

    # -- commits ---------------------------------------------------------------------------------------------

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Write these steps and the receipt of their event, all or none. Raises Moved."""
        await self._commits.commit(steps, receipt)
        for step in steps:
            if step.encrypted_claims is not None:
                self.claims.keyring.committed(step.encrypted_claims)

    def _row_claimed(self, record: Record, seq: int, head: str, salt: str | None) -> None:
        self._commits.remember(record, seq, head, salt)

    async def apply_command(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Write a command, its answer and its steps in one transaction, so that the command is executed once."""
        await self._commits.apply_command(command, answer, at, steps)

    # -- erasure ----------------------------------------------------------------------------------------

    async def forget(self, uid: str, at: float) -> bool:
        """Erase the name, labels, paths and file of a done request. Its history stays valid, and records the erasure.

        False: the tables still contain the old rows (`leftover`).
        """
        await self._commits.erase(uid, at)
        return await self.tidy()

    async def forget_in_replaced(self, uid: str, at: float) -> list[Path]:
        """Nothing: `restore` sets aside no copy of a database."""
        return []

    async def tidy(self) -> bool:
        """Remove the old rows of erased data from the tables. The write-ahead log of the server keeps them longer.

        False: they are still there (`leftover`).
        """
        self.leftover = _FORBIDDEN
        try:
            self.refuse_away()
            return await self._persistence.ask(vacuum)
        except StoreAway:
            self.leftover = _AWAY
            return False
