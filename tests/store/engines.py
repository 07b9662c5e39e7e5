"""The store of each engine as a test needs it: opening, reading, auditing, tampering, older copies, and a kill."""

import asyncio
import contextlib
import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg

from agent.platform.settings import Settings
from agent.store import open_audit, open_reading, open_store
from agent.store.audit.report import AuditReport
from agent.store.audit.verify import verify
from agent.store.contract import Store
from agent.store.postgres.dialect import numbered
from agent.store.reading.reading import Reading
from tests.store.support import ACCOUNT, changed, rows
from verification.builders.settings import settings
from verification.postgres_server import PostgresServer, database_name

_JSON_SET = re.compile(r"json_set\(record, '\$\.([\w.]+)', (json\('[^']*'\)|'[^']*'|\w+)\)")


class Engine(ABC):
    """One store. The local files of both engines have the same names, in the same folder."""

    kind: str

    def __init__(self, folder: Path, **given: Any) -> None:
        self.folder = folder
        self._given = settings(folder, "https://api.example", **given)
        self.configure()
        self._opened: list[Store] = []

    async def begin(self) -> None:
        """Make room for the store."""
        self.folder.mkdir(exist_ok=True)

    async def end(self) -> None:
        """Close what a test that failed left open."""
        for store in self._opened:
            with contextlib.suppress(Exception):
                await store.aclose()

    async def open(self, account: str | None = ACCOUNT, **options: Any) -> Store:
        """An agent on the store. An earlier one must be closed."""
        store = await open_store(self.settings, account, **options)
        self._opened.append(store)
        return store

    def reading(self) -> Reading:
        """The store, read-only."""
        return open_reading(self.settings)

    def configure(self, **more: Any) -> None:
        """Change settings of the agents that open the store from now on."""
        self._given |= more
        self.settings = Settings(**self._given)

    def keep_claims(self) -> None:
        """Set CLAIMS_KEY, and the other settings that the engine needs with it."""
        self.configure(claims_key="a claims key of the tests, long enough for it")

    def given(self) -> str:
        """The settings as JSON, for another process."""
        return json.dumps(self._given, default=str)

    async def recovery_cause(self) -> str | None:
        """Open and close the store. The cause of the recovery that is in progress then, or None."""
        await (await self.open()).aclose()
        found = await self.rows("SELECT cause FROM recoveries WHERE closed_at IS NULL")
        return found[0][0] if found else None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """An agent on the store, for the block."""
        store = await self.open()
        try:
            yield store
        finally:
            await store.aclose()

    def verified(self, copy: Path | None = None) -> AuditReport:
        """The result of `audit verify`. `copy` is a copy of the checkpoint file."""
        with open_audit(self.settings) as audit:
            return verify(audit, copy)

    def faults(self) -> list[str]:
        """The findings of `audit verify`."""
        return [finding.what for finding in self.verified().findings]

    async def tables_with(self, word: str) -> list[str]:
        """The tables with a row that contains this word."""
        return [name for name in await self.tables() if word in repr(await self.rows(f"SELECT * FROM {name}"))]

    @abstractmethod
    async def tables(self) -> list[str]:
        """The names of all tables."""

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query on what is committed, past the store."""

    @abstractmethod
    async def change(self, *statements: str) -> None:
        """Tamper, as somebody who may do anything with the engine: no trigger and no foreign key prevents it."""

    @abstractmethod
    async def kill(self, store: Store) -> None:
        """End this agent as kill -9 does, and let the time pass until another one may own the store."""

    @abstractmethod
    async def let_lease_end(self) -> None:
        """Let the time pass until another agent may own the store of one that was killed."""

    @abstractmethod
    async def take_away(self) -> None:
        """Take the store away from the agent that has it."""

    @abstractmethod
    async def keep(self) -> Any:
        """A copy of the store without the local files, while no agent runs."""

    @abstractmethod
    async def bring_back(self, kept: Any) -> None:
        """Replace the store by this copy, and leave the local files as they are."""

    @abstractmethod
    async def lose(self) -> None:
        """Lose the store, and leave the local files as they are."""


class SqliteEngine(Engine):
    """A state file."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, state_url=f"sqlite:///{folder}/agent.db")

    async def tables(self) -> list[str]:
        return [name for (name,) in await self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return rows(self.folder, sql, *values)

    async def change(self, *statements: str) -> None:
        changed(self.folder, *statements)

    async def kill(self, store: Store) -> None:
        copy = self.folder.with_name(self.folder.name + "-copy")
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("*.lock"))
        await store.aclose()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)

    async def let_lease_end(self) -> None:
        """The lock of a file ends with its process."""

    async def take_away(self) -> None:
        (self.folder / "agent.db.lock").unlink()

    async def keep(self) -> bytes:
        return (self.folder / "agent.db").read_bytes()

    async def bring_back(self, kept: bytes) -> None:
        (self.folder / "agent.db").write_bytes(kept)

    async def lose(self) -> None:
        (self.folder / "agent.db").unlink()


class PostgresEngine(Engine):
    """A database of the server for tests."""

    kind = "postgres"

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self._server = server
        self._name = database_name()
        self._turn = asyncio.Lock()  # of the connection
        self._past: asyncpg.Connection | None = None  # past the store
        super().__init__(folder, state_url=server.url(self._name), state_dir=folder)

    async def begin(self) -> None:
        await super().begin()
        await self._server.create(self._name)

    async def end(self) -> None:
        await super().end()
        await self._leave()
        await self._server.drop(self._name)

    async def tables(self) -> list[str]:
        return [
            name
            for (name,) in await self.rows(
                "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ]

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self._connected() as connection:
            return [tuple(row) for row in await connection.fetch(numbered(sql), *values)]

    async def change(self, *statements: str) -> None:
        async with self._connected() as connection:
            await connection.execute("SET session_replication_role = replica")
            try:
                for statement in statements:
                    await connection.execute(_JSON_SET.sub(_jsonb_set, statement))
            finally:
                await connection.execute("SET SESSION AUTHORIZATION DEFAULT; RESET ALL")

    async def kill(self, store: Any) -> None:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") in ("Ownership.keep", "Commits._run"):
                task.cancel()
        await asyncio.sleep(0)
        store._pool.terminate()
        store._mark.close()
        await self.let_lease_end()

    def keep_claims(self) -> None:
        self.configure(keys_dir=self.folder / "keys")
        super().keep_claims()

    async def let_lease_end(self) -> None:
        await self.change("UPDATE replicas SET until = clock_timestamp()")

    async def take_away(self) -> None:
        await self.change("DELETE FROM replicas")

    async def keep(self) -> str:
        await self._leave()
        sessions = f"FROM pg_stat_activity WHERE datname = '{self._name}'"
        await self._server.execute(f"SELECT pg_terminate_backend(pid) {sessions}")  # reads keep their connections
        return await self._server.copy(self._name)

    async def bring_back(self, kept: str) -> None:
        await self._leave()
        await self._server.drop(self._name)
        await self._server.create(self._name, kept)
        await self._server.drop(kept)

    async def lose(self) -> None:
        await self._leave()
        await self._server.drop(self._name)
        await self._server.create(self._name, "template0")

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._turn:
            if self._past is None:
                self._past = await self._server.connect(self._name)
            yield self._past

    async def _leave(self) -> None:
        if self._past is not None:
            await self._past.close()
            self._past = None


def _jsonb_set(found: re.Match[str]) -> str:
    """The same change of a record on PostgreSQL."""
    path, value = found[1].replace(".", ","), found[2]
    new = f"{value[5:-1]}::jsonb" if value.startswith("json(") else f"to_jsonb({value}::text)"
    return f"jsonb_set(record::jsonb, '{{{path}}}', {new})::text"


ENGINES = (SqliteEngine.kind, PostgresEngine.kind)
