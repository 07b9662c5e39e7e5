"""A PostgreSQL that a test crashes, freezes and starts again. Its data stays."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.support.postgres_server import folder_of_server, skipped_without_server
from verification.postgres_server import SUPERUSER, PostgresServer, start

_SETTINGS = ("fsync=off", "listen_addresses=", "shared_buffers=32MB")  # a crash of the server loses no written page


class RestartableServer:
    """A server in a folder of its own, which answers on a Unix socket in it."""

    def __init__(self, folder: Path, programs: Path | None, settings: tuple[str, ...], port: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        given = (*_SETTINGS, *settings)
        self._begin = partial(start, folder, os.getpid(), given, port=port, programs=programs, kept=True)
        self._running: PostgresServer | None = None

    def start(self) -> None:
        """Start, and return when the server answers. The first time, it makes the data."""
        self._running = self._begin()

    def crash(self) -> None:
        """End like `pg_ctl stop -m immediate`: no session is asked, and the next start recovers."""
        running, self._running = self._now, None
        running.crash()

    def stop(self) -> None:
        """End in order, if it runs."""
        if self._running is not None:
            running, self._running = self._running, None
            running.stop()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server while the block runs. Connections stay open, and nothing is answered."""
        server = self._now.pid
        children = Path(f"/proc/{server}/task/{server}/children").read_text()
        pids = [server, *map(int, children.split())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """The URL of a database."""
        return self._now.url(database, user)

    def rows(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute statements as the superuser, each in a transaction of its own. Returns the rows of the last one."""
        return [tuple(row) for row in asyncio.run(self._now.execute(*statements, database=database))]

    @property
    def _now(self) -> PostgresServer:
        assert self._running is not None, "the server does not run"
        return self._running


@contextlib.contextmanager
def restartable_server(*settings: str, programs: Path | None = None, port: int = 5432) -> Iterator[RestartableServer]:
    """A running server, of these programs or of any. Skips the test if no server can run here."""
    with folder_of_server() as folder:
        server = RestartableServer(folder, programs, settings, port)
        with skipped_without_server():
            server.start()
        try:
            yield server
        finally:
            server.stop()
