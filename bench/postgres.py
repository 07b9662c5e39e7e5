"""A PostgreSQL server for the benchmarks, on the last core, with a database for each part."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import CORES, cpu_of_tree, processes_of_tree
from bench.report import Skipped
from verification.postgres_server import SUPERUSER, PostgresServer, PostgresUnavailable, start


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with default settings: each commit waits for the disk."""

    server: PostgresServer

    def create_database(self, name: str) -> str:
        """Create an empty database. Return its URL as in STATE_URL."""
        asyncio.run(self.server.execute(f"CREATE DATABASE {name}"))
        return self.server.url(name)

    def tcp_url(self, name: str) -> str:
        """The URL of a database, for libraries that need a host."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.server.port}/{name}"

    def execute(self, database: str, *statements: str) -> None:
        """Execute statements in this database."""
        asyncio.run(self._execute(database, statements))

    async def _execute(self, database: str, statements: tuple[str, ...]) -> None:
        connection: Any = await self.server.connect(database)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    def cpu(self) -> float:
        """The CPU seconds so far of all processes of the server."""
        return cpu_of_tree(self.server.pid)


@contextlib.contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """Run a server on the last core while the block runs. Raises Skipped if none can run here."""
    folder = Path(tempfile.mkdtemp(prefix="aa-bench-"))
    try:
        given = ("listen_addresses=127.0.0.1", *settings)
        server = start(folder / "server", os.getpid(), given, port=_free_port())
        for process in processes_of_tree(server.pid):
            os.sched_setaffinity(process, {CORES[-1]})  # the sessions inherit it
        try:
            yield Postgres(server)
        finally:
            server.stop()
    except PostgresUnavailable as reason:
        raise Skipped(str(reason)) from None
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port
