"""The seven calls as jobs of pgqueuer. `python -m bench.peer_pgqueuer COUNT URL DATABASE FOLDER`; COUNT 0 installs it.

A row for each request is inserted in the transaction that enqueues its job, and updated after each call.
"""

import sys
import time
from pathlib import Path

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.plain_calls import CONCURRENCY, PlainCalls, plain_calls
from bench.process import cpu, report

_CONNECTIONS = 16
_TABLE = """
    CREATE TABLE requests (
        reference text PRIMARY KEY, phase text NOT NULL, dossier text, process text, status text,
        changed timestamptz NOT NULL DEFAULT now()
    )
"""
_SAVE = """
    UPDATE requests SET phase = $2, dossier = coalesce($3, dossier), process = coalesce($4, process),
        status = coalesce($5, status), changed = now()
    WHERE reference = $1
"""


class _Lifecycle:
    """One job: each call is followed by a committed row."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", calls: PlainCalls, folder: Path) -> None:
        self._pool = pool
        self._calls = calls
        self._folder = folder

    async def run(self, job: Job) -> None:
        """Verify the image of this job."""
        assert job.payload is not None
        number = job.payload.decode()
        reference, calls = f"pgqueuer-{number}", self._calls

        async def save(phase: str, *fields: str | None) -> None:
            await self._pool.execute(_SAVE, reference, phase, *fields, *[None] * (3 - len(fields)))

        dossier = await calls.create_dossier(reference)
        await save("dossier", dossier)
        process = await calls.create_process(dossier)
        await save("process", None, process)
        await calls.upload_image(dossier, process, (self._folder / f"{number}.jpg").read_bytes())
        await save("uploaded")
        await calls.start_verification(dossier, process)
        await save("started")
        status = await calls.read_status(dossier, process)
        await save("result", None, None, status)
        await calls.delete_dossier(dossier)
        await save("deleted")
        await calls.confirm_deletion(dossier)
        await save("done")


async def _install(database: str) -> None:
    connection = await asyncpg.connect(database)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.execute(_TABLE)
    await connection.close()


async def _enqueue(database: str, count: int) -> None:
    connection = await asyncpg.connect(database)
    numbers = range(count)
    async with connection.transaction():
        rows = [(f"pgqueuer-{number}", "admitted") for number in numbers]
        await connection.executemany("INSERT INTO requests (reference, phase) VALUES ($1, $2)", rows)
        payloads: list[bytes | None] = [str(number).encode() for number in numbers]
        await Queries(AsyncpgDriver(connection)).enqueue(["verify"] * count, payloads, [0] * count)
    await connection.close()


async def _main(count: int, url: str, database: str, folder: Path) -> dict[str, float]:
    if not count:
        await _install(database)
        return {}
    began = time.perf_counter()
    await _enqueue(database, count)
    async with (
        asyncpg.create_pool(database, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool,
        plain_calls(url) as calls,
    ):
        queuer = PgQueuer(AsyncpgPoolDriver(pool))
        queuer.entrypoint("verify")(_Lifecycle(pool, calls, folder).run)
        await queuer.run(mode=QueueExecutionMode.drain, batch_size=CONCURRENCY // 2, max_concurrent_tasks=CONCURRENCY)
        done = await pool.fetchval("SELECT count(*) FROM requests WHERE phase = 'done'")
    assert done == count, done
    return {"seconds": time.perf_counter() - began, "cpu": cpu()}


if __name__ == "__main__":
    report(**uvloop.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))))
