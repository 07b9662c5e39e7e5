"""A store of either engine for an auditor: its history, its files, and SQL that tampers with it."""

import contextlib
import re
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

_JSON_SET = re.compile(r"json_set\(record, '\$\.([\w.]+)', (json\('[^']*'\)|'[^']*'|\w+)\)")


def _jsonb_set(found: re.Match[str]) -> str:
    """The same change of a record on PostgreSQL."""
    path, value = found[1].replace(".", ","), found[2]
    new = f"{value[5:-1]}::jsonb" if value.startswith("json(") else f"to_jsonb({value}::text)"
    return f"jsonb_set(record::jsonb, '{{{path}}}', {new})::text"


@dataclass(frozen=True)
class Engine:
    """A store in a folder of its own, or in a database of its own with its local files in the folder."""

    settings: Settings

    @classmethod
    def create(cls, folder: Path, database: str | None) -> "Engine":
        """The store of this engine; nothing is opened yet. `database`: the URL, None for SQLite."""
        (folder / "state").mkdir(parents=True)
        return cls.of(folder, database)

    @classmethod
    def of(cls, folder: Path, database: str | None) -> "Engine":
        """The same store for another process."""
        state = folder / "state"
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
                await connection.execute(_JSON_SET.sub(_jsonb_set, statement))

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        if not self.settings.uses_database:
            return rows(self.settings.state_path.parent, sql)
        async with self._superuser() as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    async def keep(self) -> None:
        """Keep a copy of the closed store."""
        if not self.settings.uses_database:
            path = self.settings.state_path
            path.with_suffix(".kept").write_bytes(path.read_bytes())
            return
        name = Server.parse(self.settings.state_url).database
        async with self._superuser("postgres") as connection:
            await connection.execute(f"CREATE DATABASE {name}_kept TEMPLATE {name}")

    async def go_back(self) -> None:
        """Put the kept copy in the place of the closed store. The files beside it stay as they are."""
        if not self.settings.uses_database:
            path = self.settings.state_path
            path.with_suffix(".kept").replace(path)
            return
        name = Server.parse(self.settings.state_url).database
        async with self._superuser("postgres") as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await connection.execute(f"ALTER DATABASE {name}_kept RENAME TO {name}")

    @contextlib.asynccontextmanager
    async def _superuser(self, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        server = Server.parse(self.settings.state_url)
        connection = await asyncpg.connect(
            host=server.hosts[0], port=server.ports[0], user="postgres", database=database or server.database
        )
        try:
            yield connection
        finally:
            await connection.close()

    def verified(self, copy: Path | None = None) -> AuditReport:
        """The result of `audit verify`."""
        with open_audit(self.settings) as audit:
            return verify(audit, copy)
