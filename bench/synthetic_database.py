"""A database as it is after years: the rows of `synthetic_store`, copied into PostgreSQL."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

from agent.platform.settings import Settings
from agent.store import open_store
from agent.store.contract import Store
from agent.store.identity_key import Keys
from bench.postgres import Postgres
from bench.synthetic_store import CHUNK, Pattern, SyntheticRequest
from verification.builders.lives import Life

_COUNT = """
INSERT INTO request_counts (phase, state, reason, dossier, requests)
SELECT phase, state, coalesce(hold_reason, ''), (dossier_id IS NOT NULL)::int, count(*)
FROM requests GROUP BY 1, 2, 3, 4
"""


def begin(known: Settings) -> Keys:
    """Create the tables. Return the key of the store."""
    return asyncio.run(_opened(known, checkpoint=False))


def write_database(
    server: Postgres, name: str, known: Settings, lives: Sequence[Life], requests: Iterable[SyntheticRequest]
) -> list[SyntheticRequest]:
    """Add these requests to this database, with these lives in turn. No agent runs."""
    requests = sorted(requests, key=lambda one: one.uid)
    keys = asyncio.run(_opened(known, checkpoint=False))
    asyncio.run(_write(server, name, [Pattern(life, keys) for life in lives], requests))
    asyncio.run(_opened(known, checkpoint=True))
    return requests


async def _opened(known: Settings, checkpoint: bool) -> Keys:
    """Open and close the store. `checkpoint`: leave the last checkpoint, as a stopped agent does."""
    store: Store = await open_store(known, None)
    if checkpoint:
        await store.checkpoint(0.0)
    await store.aclose()
    return store.keys


async def _write(
    server: Postgres, name: str, patterns: Sequence[Pattern], requests: Sequence[SyntheticRequest]
) -> None:
    connection = await server.server.connect(name)
    await connection.execute("SET session_replication_role = replica")  # no checks of references, which are right
    await connection.execute("SET synchronous_commit = off")
    event = await connection.fetchval("SELECT coalesce(max(id), 0) FROM events")
    turns = cycle(patterns)
    for start in range(0, len(requests), CHUNK):
        chunk: dict[str, tuple[list[str], list[list[Any]]]] = {}
        for request in requests[start : start + CHUNK]:
            pattern = next(turns)
            rows, event = pattern.copy(request, event)
            for table, columns in pattern.columns.items():
                chunk.setdefault(table, (columns, []))[1].extend(rows[table])
        for table, (columns, values) in chunk.items():
            await connection.copy_records_to_table(table, records=values, columns=columns)
    await connection.execute("DELETE FROM request_counts")
    await connection.execute(_COUNT)
    for table in ("requests", "events", "attempts", "starts", "reservations"):
        await connection.execute(f"VACUUM ANALYZE {table}")  # as the server does by itself after a while
    await connection.close()
