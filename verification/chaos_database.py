"""The PostgreSQL server of a deployment under chaos: it is killed too, and starts again with its data."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

from verification.database_copy import copy_to_file
from verification.invariants import Json, Violation, violations
from verification.postgres_server import SUPERUSER, PostgresServer, start

_DATABASE = "chaos"


class ChaosDatabase:
    """A server with one database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "server"
        self._local = folder / "state"  # the local files of the agent
        self.crashes = 0
        self.port = 0  # of a proxy on this machine; 0: the agents use the socket
        self._server = self._started()
        asyncio.run(self._server.execute(f"CREATE DATABASE {_DATABASE}"))

    def _started(self) -> PostgresServer:
        return start(self._folder, os.getpid(), ["listen_addresses="], kept=True)

    name = _DATABASE

    async def execute(self, statement: str) -> list[Any]:
        """The rows of a statement."""
        return await self._server.execute(statement, database=_DATABASE)

    @property
    def socket(self) -> str:
        """The Unix socket of the server."""
        return self._server.socket()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of an agent on this database."""
        url = (
            f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{_DATABASE}" if self.port else self._server.url(_DATABASE)
        )
        return {"STATE_URL": url, "STATE_DIR": str(self._local)}

    def crash(self, away: float) -> None:
        """End the server at once, and start it again after `away` seconds."""
        self._server.crash()
        sleep(away)
        self._server = self._started()
        self.crashes += 1

    def violations(self, ledger: Json, agent: str, *, settled: bool) -> list[Violation]:
        """The violations in the database. No agent runs."""
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as name:
            state = Path(name) / "state" / "agent.db"
            asyncio.run(copy_to_file(self._server, _DATABASE, self._local, state))
            return violations(state, ledger, agent, settled=settled)

    def stop(self) -> None:
        """End the server."""
        self._server.stop()


@contextlib.contextmanager
def chaos_database(folder: Path) -> Iterator[ChaosDatabase]:
    """A server in this folder while the block runs."""
    database = ChaosDatabase(folder)
    try:
        yield database
    finally:
        database.stop()
