"""The database as a side of `store copy`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from agent.core.errors import StoreDamaged, StoreError, StoreLocked
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, encoded, parsed
from agent.store.copy.sides import DROP_EMPTY_NOTE, ROWS, TABLES, Row, select
from agent.store.identity_key import Keys

from .checkpoints import LINES, NAMED
from .connect import Server, open_pool
from .driver import Connection, Pool
from .errors import translated
from .migrations import applied, migrate
from .ownership import Ownership
from .persistence import Persistence
from .sealed_links import LinkSeal

_CONNECTIONS = 3  # the copy, the lease, and one more
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attname COLLATE "C"
"""
_LEASE = 15.0  # seconds
_OWNED = "SELECT 1 FROM replicas WHERE epoch = $1 AND until > clock_timestamp() FOR KEY SHARE"
_MARK = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_NEXT_DELIVERY = "SELECT setval(pg_get_serial_sequence('deliveries', 'id'), max(id)) FROM deliveries"


class PostgresSide:
    """A database that is read in one snapshot, through a connection in a transaction."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self.name = f"database {server}"
        self._connection = connection

    async def columns(self, table: str) -> list[str]:
        """The names of the columns of a table, in the order of the alphabet."""
        with translated(self.name):
            return [row[0] for row in await self._connection.fetch(_COLUMNS, table)]

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        """All rows of a table in their order, in pages. Capture links are opened."""
        async for page in self.pages(select(table, columns)):
            rows = [tuple(row) for row in page]
            yield self._with_links(columns, rows, self._opened) if table == "links" else rows

    def unlock(self, keys: Keys) -> None:
        """Seal and open capture links with this key."""
        self._seal = LinkSeal(keys)

    def _opened(self, uid: str, sealed: str) -> str:
        link = self._seal.open(uid, sealed)
        if link is None:
            raise StoreDamaged(
                f"The capture link of {uid} in the {self.name} was sealed under another key.",
                "start the agent with the key of that database, and repeat the command",
            )
        return link

    @staticmethod
    def _with_links(columns: Sequence[str], rows: Sequence[Row], change: Callable[[str, str], str]) -> list[Row]:
        """Rows of `links` whose link is sealed or opened."""
        uid, link = columns.index("uid"), columns.index("link")
        return [(*row[:link], change(row[uid], row[link]), *row[link + 1 :]) for row in rows]

    async def checkpoints(self, path: Path) -> list[Checkpoint]:
        """The checkpoints, from their table."""
        found = [line async for page in self.pages(LINES) for (line,) in page]
        return list(parsed(found, NAMED))

    async def pages(self, sql: str) -> AsyncIterator[list[Any]]:
        """The rows of a query, in pages."""
        with translated(self.name):
            cursor = await self._connection.cursor(sql)
            while page := await cursor.fetch(ROWS):
                yield page


class PostgresSource(PostgresSide):
    """The database that is copied. This process owns it."""

    def __init__(self, server: Server, connection: Connection, owner: Ownership, snapshot: Any) -> None:
        super().__init__(server, connection)
        self._owner = owner
        self._snapshot = snapshot

    async def set_aside(self, target: str) -> None:
        """Mark the database, and erase its capture links."""
        with translated(self.name):
            await self._snapshot.rollback()
            async with self._connection.transaction():
                await refuse_lost(self.name, self._connection, self._owner)
                await self._connection.execute(_MARK, str(MetaKey.MOVED_TO), target)
                await self._connection.execute("DELETE FROM links")


class PostgresTarget(PostgresSide):
    """The database that becomes the copy. This process owns it. All rows are in one transaction."""

    def __init__(self, server: Server, connection: Connection, owner: Ownership, transaction: Any) -> None:
        super().__init__(server, connection)
        self._owner = owner
        self._transaction = transaction

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows to a table. Capture links are sealed: the log and the backups of the server contain them [I6]."""
        rows = self._with_links(columns, rows, self._seal.seal) if table == "links" else rows
        with translated(self.name):
            await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def insert_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Add the checkpoints."""
        rows = [(one.number, encoded(one).decode()) for one in checkpoints]
        with translated(self.name):
            await self._connection.copy_records_to_table("checkpoints", records=rows, columns=["number", "line"])

    async def commit(self) -> None:
        """Make all rows durable, or none. Raises StoreError if this process lost the database meanwhile."""
        with translated(self.name):
            await self._connection.fetchval(_NEXT_DELIVERY)
            await refuse_lost(self.name, self._connection, self._owner)
            await self._connection.execute("SET LOCAL synchronous_commit = on")
            await self._transaction.commit()
            self._transaction = self._connection.transaction()
            await self._transaction.start()

    async def finish(self) -> None:
        """Remove the mark of an unfinished copy: an agent may start on it. Plans need the statistics of the tables."""
        with translated(self.name):
            await self._connection.execute("DELETE FROM meta WHERE key = $1", str(MetaKey.COPY_OF))
            await self._transaction.commit()
            await self._connection.execute(f"ANALYZE {', '.join(TABLES)}")


async def refuse_lost(name: str, connection: Connection, owner: Ownership) -> None:
    """Raise StoreLocked if the lease of this process is over."""
    if await connection.fetchval(_OWNED, owner.epoch) is None:
        raise StoreLocked(f"The lease of this command on the {name} is over.", "repeat the command")


@contextlib.asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[PostgresSide]:
    """A database for a comparison. Raises StoreError if it has no tables."""
    server = Server.of(settings)
    async with _connected(server) as (_, connection):
        await _refuse_missing(server, connection)
        async with _snapshot(server, connection):
            yield PostgresSide(server, connection)


@contextlib.asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[PostgresSource]:
    """A database that is copied. Raises StoreLocked while an agent owns it."""
    server = Server.of(settings)
    async with _connected(server) as (pool, connection):
        await _refuse_missing(server, connection)
        async with _owned(server, pool) as owner, _snapshot(server, connection) as snapshot:
            yield PostgresSource(server, connection, owner, snapshot)


@contextlib.asynccontextmanager
async def target(settings: Settings) -> AsyncIterator[PostgresTarget]:
    """An empty database, or an unfinished copy. Creates the tables. Raises StoreLocked while an agent owns it."""
    server = Server.of(settings)
    async with _connected(server) as (pool, connection):
        await migrate(pool, str(server))
        async with _owned(server, pool) as owner:
            with translated(str(server)):
                transaction = connection.transaction()
                await transaction.start()
                await connection.execute(DROP_EMPTY_NOTE)
            yield PostgresTarget(server, connection, owner, transaction)


@contextlib.asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[tuple[Pool, Connection]]:
    """A pool, and one connection of it. Closing it undoes what was not committed."""
    pool = await open_pool(server, _CONNECTIONS)
    try:
        yield pool, await pool.acquire()
    finally:
        pool.terminate()


@contextlib.asynccontextmanager
async def _owned(server: Server, pool: Pool) -> AsyncIterator[Ownership]:
    """Own the database for the block, so that no agent starts on it."""
    owner = Ownership(Persistence(pool, str(server)), _LEASE, "copy")
    await owner.join()
    keeping = asyncio.create_task(owner.keep(lambda _: None))
    try:
        yield owner
    finally:
        keeping.cancel()
        with contextlib.suppress(Exception):
            await owner.leave()


@contextlib.asynccontextmanager
async def _snapshot(server: Server, connection: Connection) -> AsyncIterator[Any]:
    """A transaction that sees the database as it is now."""
    with translated(str(server)):
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
    yield transaction


async def _refuse_missing(server: Server, connection: Connection) -> None:
    with translated(str(server)):
        if await applied(connection) is None:
            raise StoreError(f"The database {server} has no tables of the agent.", "check the URL of the source")
