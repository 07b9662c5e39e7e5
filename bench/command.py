"""Runs the installed command as operators do: settings in the environment, pinned to the first core, timed from
outside."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from agent.store.identity_key import Keys
from bench.process import CORES, cpu_of, peak, rss
from bench.request_files import FRONT, request
from bench.synthetic_store import AGENT, SOURCE
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import environment

T = TypeVar("T")

_COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]
_PATIENCE = 600.0  # seconds until a wait fails


@dataclass(frozen=True, slots=True)
class Running:
    """A running agent. `started_at`: the start of its process, in seconds since the epoch."""

    pid: int
    started_at: float
    log: Path

    def output(self, pattern: str) -> "re.Match[str]":
        """Wait until its log matches the pattern."""
        return eventually(lambda: re.search(pattern, self.log.read_text()))

    def seconds(self, path: str, token: str = "") -> float:
        """The seconds that one GET takes. `token`: API_TOKEN."""
        url = self.output(r'"address": "(http://[^"]+)"')[1]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        began = time.perf_counter()
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers)) as answer:
            answer.read()
        return time.perf_counter() - began

    def cpu(self) -> float:
        """The CPU seconds used so far."""
        return cpu_of(self.pid)

    def wait_until_idle(self) -> None:
        """Wait until the agent has started and used almost no CPU for two seconds."""
        self.output('"event": "started"')
        before = [self.cpu()]

        def rested() -> bool | None:
            time.sleep(2.0)
            before.append(self.cpu())
            return before[-1] - before[-2] < 0.1 or None

        eventually(rested)

    def peak(self) -> int:
        """The largest amount of memory so far, in bytes."""
        return peak(self.pid)

    def rss(self) -> int:
        """The memory in use, in bytes."""
        return rss(self.pid)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with requests, pictures and a store."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the folders."""
        for name in ("specs", "state"):
            (self.folder / name).mkdir(exist_ok=True)
        write(self.folder / FRONT, noise())

    @property
    def specs(self) -> Path:
        """The folder of request files."""
        return self.folder / "specs"

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / "state" / "agent.db"

    def drop(self, name: str) -> float:
        """Write a request file atomically. Return the time, in seconds since the epoch."""
        made = self.folder / "made.tmp"
        made.write_text(request(name))
        now = time.time()
        made.rename(self.folder / "specs" / f"{name}.yaml")
        return now

    def _environment(self, url: str) -> dict[str, str]:
        given = environment(self.folder, url, AGENT_ID=AGENT, LOG_FORMAT="json", **self.settings)
        given.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed command does not compile its modules at each start
        return given

    @contextlib.contextmanager
    def running(self, url: str) -> Iterator[Running]:
        """Run the agent until the block ends."""
        log, began = self.folder / "agent.log", time.time()
        with (
            log.open("w") as file,
            subprocess.Popen([*_COMMAND, "run"], env=self._environment(url), stderr=file) as process,
        ):
            os.sched_setaffinity(process.pid, {CORES[0]})
            try:
                yield Running(process.pid, began, log)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    def timed(self, *arguments: str, url: str = "http://127.0.0.1:9") -> float:
        """Run a command to its end. Return its CPU seconds, which load on the machine does not change."""
        with subprocess.Popen(
            [*_COMMAND, *arguments], env=self._environment(url), stdout=subprocess.DEVNULL
        ) as process:
            os.sched_setaffinity(process.pid, {CORES[0]})
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 2):  # 2: `plan` reports changes
            sys.exit(f"assure-agent {' '.join(arguments)} ended with {process.returncode}.")
        return usage.ru_utime + usage.ru_stime


def reference(keys: Keys, name: str) -> str:
    """The external reference of the first generation of a request whose file is in the folder."""
    return f"aa-{AGENT}-{keys.uid(SOURCE, name)}-1-1"


def eventually(found: Callable[[], T | None]) -> T:
    """Return the first true result, checked a hundred times a second. Exit after the patience."""
    end = time.monotonic() + _PATIENCE
    while (value := found()) is None:
        if time.monotonic() > end:
            sys.exit("The expected result did not appear in time.")
        time.sleep(0.01)
    return value
