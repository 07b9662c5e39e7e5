"""A store of either engine for an auditor: its history, its files, and SQL that tampers with it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from agent.platform.settings import Settings
from agent.store import open_audit, open_store
from agent.store.audit.report import AuditReport
from agent.store.audit.verify import verify
from agent.store.contract import Store
from agent.store.postgres.connect import Server
from tests.store.support import ACCOUNT, changed, committed, rows
from verification.builders.lives import Life
from verification.builders.settings import settings


@dataclass(frozen=True)
class Engine:
    """A store in a folder of its own, or in a database of its own with its local files in the folder."""

    settings: Settings

    @classmethod
    def create(cls, folder: Path, database: str | None) -> "Engine":
        """The store of this engine; nothing is opened yet. `database`: the URL, None for SQLite."""
        state = folder / "state"
        state.mkdir(parents=True)
        place = {} if database is None else {"state_url": database, "state_dir": state}
        return cls(Settings(**settings(folder, "http://127.0.0.1:1", **place)))

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """The store, as an agent opens it."""
        store = await open_store(self.settings, ACCOUNT)
        try:
            yield store
        finally:
            await store.aclose()

    async def written(self, *lives: Life) -> None:
        """Commit all steps of these requests, and take a checkpoint."""
        async with self.opened() as store:
            for life in lives:
                await committed(store, life)
            await store.checkpoint(life.at)

    async def tampered(self, *statements: str) -> None:
        """Change the tables as somebody who may do everything: no trigger and no foreign key prevents it."""
        if not self.settings.uses_database:
            changed(self.settings.state_path.parent, "PRAGMA foreign_keys=OFF", *statements)
            return
        async with self._superuser() as connection:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        if not self.settings.uses_database:
            return rows(self.settings.state_path.parent, sql)
        async with self._superuser() as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    @contextlib.asynccontextmanager
    async def _superuser(self) -> AsyncIterator[asyncpg.Connection]:
        server = Server.parse(self.settings.state_url)
        connection = await asyncpg.connect(
            host=server.hosts[0], port=server.ports[0], user="postgres", database=server.database
        )
        try:
            yield connection
        finally:
            await connection.close()

    def verified(self, copy: Path | None = None) -> AuditReport:
        """The result of `audit verify`."""
        with open_audit(self.settings) as audit:
            return verify(audit, copy)
