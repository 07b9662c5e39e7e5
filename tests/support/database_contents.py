"""The bytes of all rows of a database, to search them for what must not be there."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from verification.postgres_server import PostgresServer

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


def contents(server: PostgresServer, database: str) -> bytes:
    """Read by a thread, because the caller may be in a loop that runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_rows(server, database))).result()


async def _rows(server: PostgresServer, database: str) -> bytes:
    copied = BytesIO()
    connection = await server.connect(database)
    try:
        for (table,) in await connection.fetch(_TABLES):
            await connection.copy_from_table(table, output=copied, format="binary")
    finally:
        await connection.close()
    return copied.getvalue()
