"""A database with an owner and a writer, and the content of every table on both engines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.store.identity_key import Keys
from agent.store.postgres.commits import Commits
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.ownership import Ownership
from agent.store.postgres.persistence import Persistence
from agent.store.postgres.sealed_links import LinkSeal
from agent.store.sqlite.connection import Connection
from verification.database_copy import ONLY_DATABASE

KEYS = Keys(b"k" * 32)
SINKS = ("one-sink", "another-sink")
NOT_COMPARED = ", ".join(f"'{name}'" for name in (*ONLY_DATABASE, "checkpoints"))
TABLES = f"""
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
AND relname NOT IN ({NOT_COMPARED}) ORDER BY relname
"""


_WAITING = """
SELECT EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE NOT granted AND datname = current_database()
)
"""


@dataclass
class Opened:
    """An agent's part of a database."""

    pool: Any
    persistence: Persistence
    owner: Ownership
    commits: Commits
    batches: list[int]  # the callers of each commit

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in await self.pool.fetch(sql, *values)]

    async def counted(self) -> None:
        """The journal has no gap, the heads are its last hashes, and the counts of requests are those of the table."""
        gaps = await self.rows(
            "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM events) AS numbered WHERE id <> n"
        )
        assert gaps == []
        heads = await self.rows(
            """
            SELECT uid FROM requests JOIN LATERAL
                (SELECT seq, hash FROM events WHERE uid = requests.uid ORDER BY seq DESC LIMIT 1) AS last ON true
            WHERE requests.seq <> last.seq OR requests.head <> last.hash
            """
        )
        assert heads == []
        kept = await self.rows("SELECT * FROM request_counts WHERE requests <> 0 ORDER BY 1, 2, 3, 4")
        assert kept == await self.rows(
            """
            SELECT phase, state, coalesce(hold_reason, ''), (dossier_id IS NOT NULL)::int::smallint, count(*)
            FROM requests GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
            """
        )


@contextlib.asynccontextmanager
async def opened(
    url: str, lease: float = 60.0, connections: int = 4, epoch: UUID | None = None, **options: Any
) -> AsyncIterator[Opened]:
    """Join as the agent of this database; with the `epoch` of another one, as the same agent."""
    server, batches = Server.parse(url), []
    pool = await open_pool(server, connections)
    persistence = Persistence(pool, str(server))
    persistence.limit(None)
    owner = Ownership(persistence, lease)
    owner.epoch = epoch or owner.epoch
    await owner.join()
    commits = Commits(
        persistence, owner, KEYS, observe=lambda _, callers: batches.append(callers), **{"sinks": SINKS} | options
    )
    try:
        yield Opened(pool, persistence, owner, commits, batches)
    finally:
        await commits.close(patience=1.0)
        pool.terminate()


async def waiting_for_a_lock(task: "asyncio.Future[Any]", pool: Any) -> None:
    """Return when a session waits for a lock. Fails if the task ends without it."""
    while not await pool.fetchval(_WAITING):
        assert not task.done(), "it did not wait"
        await asyncio.sleep(0.01)


async def content(pool: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of the PostgreSQL store, with open links. A count of zero requests says nothing."""
    found = {}
    for (name,) in await pool.fetch(TABLES):
        which = "WHERE requests <> 0" if name == "request_counts" else ""
        found[name] = _sorted([tuple(row) for row in await pool.fetch(f"SELECT * FROM {name} {which}")])
    seal = LinkSeal(KEYS)
    found["links"] = [(uid, seal.open(uid, sealed), at) for uid, sealed, at in found["links"]]
    return found


def content_of_sqlite(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The same of the SQLite store."""
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for name in sorted(tables):
        if not name.startswith(("sqlite_", "_sqlite")):
            which = "WHERE requests <> 0" if name == "request_counts" else ""
            found[name] = _sorted(connection.execute(f"SELECT * FROM {name} {which}").fetchall())
    return found


def _sorted(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)
