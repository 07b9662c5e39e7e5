"""A database for a whole module of tests, and statements past the agent."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import asyncpg

from tests.support.postgres_server import PostgresServer


@contextlib.contextmanager
def databases(server: PostgresServer, template: str = "migrated") -> Iterator[str]:
    """The URL of a database for the block. The template `template0` has no tables of an agent."""
    name = f"m_{os.getpid()}_{time.monotonic_ns()}"
    asyncio.run(server.execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.url(name)
    asyncio.run(server.execute(f"DROP DATABASE {name} WITH (FORCE)"))


def name_of(url: str) -> str:
    """The database of a URL."""
    return url.partition("?")[0].rpartition("/")[2]


async def fetch(server: PostgresServer, database: str, sql: str) -> list[Any]:
    """The rows of a statement of the superuser in a database."""
    connection = await asyncpg.connect(host=server.folder, port=server.port, user="postgres", database=database)
    try:
        rows: list[Any] = await connection.fetch(sql)
        return rows
    finally:
        await connection.close()
