"""The store of a world, past its agent: as an administrator, an accident or a thief reaches it."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.database_contents import contents


@dataclass
class WorldStore:
    """A state file, or a database of a test server."""

    folder: Path
    switches: dict[str, Any] = field(default_factory=dict, kw_only=True)  # settings that differ from the defaults
    server: Any = field(default=None, kw_only=True)  # the PostgresServer with the store; None for a state file

    @property
    def state(self) -> Path:
        """The state file. Its folder has the key, also of a database."""
        return self.folder / "state" / "agent.db"

    @property
    def database(self) -> str:
        """The name of the database."""
        return urlsplit(str(self.switches["state_url"])).path[1:]

    async def lose(self) -> None:
        """Lose the store, but not the key next to it. No agent runs."""
        if self.server is not None:
            await self.server.drop(self.database)
            await self.server.create(self.database, "template0")
            return
        for path in self.state.parent.glob("agent.db*"):
            path.unlink()

    async def keep(self) -> Any:
        """A copy of the store, for `bring_back`. No agent runs."""
        if self.server is not None:
            return await self.server.copy(self.database)
        return shutil.copy(self.state, self.folder / f"older-{time.monotonic_ns()}.db")

    async def bring_back(self, kept: Any) -> None:
        """Restore the copy, as an administrator does it."""
        if self.server is not None:
            await self.server.drop(self.database)
            await self.server.create(self.database, kept)
            return
        for path in self.state.parent.glob("agent.db-*"):
            path.unlink()
        shutil.copy(kept, self.state)

    @contextlib.asynccontextmanager
    async def crashed(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Gives a function to call at the moment of a crash: what the agent of the block commits later is not kept."""
        copy = self.folder / "crashed"

        async def crash() -> None:
            if self.server is not None:  # without its row, nothing that it sends is committed
                await self.server.execute("DELETE FROM replicas", database=self.database)
                return
            shutil.copytree(self.state.parent, copy, ignore=shutil.ignore_patterns("*.lock", "*.sock"))

        yield crash
        if copy.exists():
            shutil.rmtree(self.state.parent)
            copy.rename(self.state.parent)

    def state_bytes(self) -> bytes:
        """Everything in the store but keys, locks and sockets: database, write-ahead log, shared memory.

        Read by another process: to close a file here would drop the locks that the agent's SQLite holds on it.
        Of a database, the bytes of all rows.
        """
        if self.server is not None:
            return contents(self.server, self.database)
        files = self.state.parent.glob(self.state.name + "*")
        return subprocess.check_output(["cat", *sorted(path for path in files if path.is_file())])
