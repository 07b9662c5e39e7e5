"""A server whose settings and roles a test may change, and a database for each test."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.migrations import migrate
from agent.store.postgres.server_facts import ServerFacts, read_facts
from tests.support.postgres_server import PostgresServer, start
from tests.support.timeouts import eventually

HBA = "local all postgres,plain,reader,guest trust\nlocal replication postgres trust\nlocal all all scram-sha-256\n"
ROLES = ("plain", "reader", "guest", "locked")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of its own, whose settings a test may change, with a database of the role `plain`."""
    started = start(os.getpid(), "listen_addresses=", "max_prepared_transactions=2", hba=HBA)
    try:
        roles = [f"CREATE ROLE {role} LOGIN PASSWORD 'right'" for role in ROLES]
        asyncio.run(started.execute(*roles, "CREATE DATABASE migrated OWNER plain"))
        asyncio.run(create_tables(started.url("migrated").replace("postgres@", "plain@")))
        yield started
    finally:
        started.stop()


async def create_tables(url: str) -> None:
    pool = await open_pool(Server.parse(url))
    await migrate(pool)
    await pool.close()


class Place:
    """A database of a test."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name = server, name

    def url(self, role: str = "plain") -> str:
        return self.server.url(self.name).replace("postgres@", f"{role}@")

    def execute(self, *statements: str, role: str = "postgres") -> list[Any]:
        """Execute these, each in a transaction of its own. Returns the rows of the last one."""

        async def work() -> list[Any]:
            connection = await self.connect(role)
            rows: list[Any] = []
            for statement in statements:
                rows = await connection.fetch(statement)
            await connection.close()
            return rows

        return asyncio.run(work())

    async def connect(self, role: str) -> Any:
        return await asyncpg.connect(
            host=self.server.folder, port=self.server.port, user=role, database=self.name, statement_cache_size=0
        )

    def facts(self, role: str = "plain") -> ServerFacts:
        return asyncio.run(read_facts(Server.parse(self.url(role))))

    def change(self, setting: str, value: str) -> None:
        """Change a setting of the server, and wait for it."""
        before = self.execute("SELECT pg_conf_load_time()")[0][0]
        self.execute(f"ALTER SYSTEM SET {setting} = {value}", "SELECT pg_reload_conf()")
        eventually(
            lambda: self.execute("SELECT pg_conf_load_time()")[0][0] > before, lambda: "the server read no settings"
        )


@pytest.fixture
def place(server: PostgresServer) -> Iterator[Place]:
    """A new database with the tables."""
    name = f"t_{uuid.uuid4().hex}"
    asyncio.run(server.execute(f"CREATE DATABASE {name} TEMPLATE migrated OWNER plain"))
    place = Place(server, name)
    yield place
    place.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    asyncio.run(server.execute(f"DROP DATABASE {name} WITH (FORCE)"))
