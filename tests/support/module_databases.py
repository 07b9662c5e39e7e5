"""A database for a whole module of tests."""

import asyncio
import contextlib
from collections.abc import Iterator

from verification.postgres_server import TEMPLATE, PostgresServer, database_name


@contextlib.contextmanager
def databases(server: PostgresServer, template: str = TEMPLATE) -> Iterator[str]:
    """The URL of a database for the block. The template `template0` has no tables of an agent."""
    name = database_name()
    asyncio.run(server.create(name, template))
    yield server.url(name)
    asyncio.run(server.drop(name))


def name_of(url: str) -> str:
    """The database of a URL."""
    return url.partition("?")[0].rpartition("/")[2]
