"""Run git without its configuration, hooks and prompts, limited in time and size."""

import atexit
import contextlib
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO

from agent.core.source_revision import FetchFailure
from agent.source.revisions.fetch_errors import FetchError, Result

OLDEST = "2.34"  # version of git: the first one that verifies SSH signatures
_MEMORY = 2 << 30  # bytes of address space of each process
_MOST_ERRORS = 256 << 10  # bytes on standard error
_MOST_OUTPUT = 16 << 20  # bytes of an output that is read as a whole
_CHECK_SECONDS = 0.1  # between two checks of the limits

_running: set[int] = set()  # the groups of all commands that run now


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of one command. `exceeded` is asked again and again while it runs."""

    seconds: float
    file_bytes: int | None = None  # of each file that it writes
    exceeded: Callable[[], bool] = field(default=lambda: False)


class Git:
    """The git command for one bare repository."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, arguments: Sequence[str], bounds: Bounds, **options: object) -> tuple[bytes, Result]:
        """The output of a command of at most 16 MiB, and its result."""
        with self.start(arguments, bounds, **options) as (output, result):  # type: ignore[arg-type]
            found = output.read(_MOST_OUTPUT + 1)
            if len(found) > _MOST_OUTPUT:
                raise FetchError(FetchFailure.TOO_LARGE, f"git {arguments[0]} wrote more than {_MOST_OUTPUT} bytes")
        return found, result

    def version(self, bounds: Bounds) -> str:
        """The version of git, such as 2.39.5. Raises FetchError with NO_GIT if git is missing or too old."""
        output, _ = self.run(("version",), bounds)
        text = output.decode("utf-8", "replace").strip()[:100]
        found = re.search(r"(\d+)\.(\d+)[.\d]*", text)
        if found is None or [int(found[1]), int(found[2])] < [*map(int, OLDEST.split("."))]:
            raise FetchError(FetchFailure.NO_GIT, f"git {OLDEST} or newer is needed, found: {text}")
        return found[0].rstrip(".")

    @contextlib.contextmanager
    def start(
        self,
        arguments: Sequence[str],
        bounds: Bounds,
        *,
        stdin: bytes = b"",
        protocol: str = "none",
        variables: Mapping[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> Iterator[tuple[IO[bytes], Result]]:
        """Yields the output as it comes. The result is complete afterwards.

        `protocol` is the only one that git may use, `held` are descriptors that it inherits. On an exception, git and
        all processes that it started are killed. Raises FetchError with NO_GIT or DISK.
        """
        result = Result()
        try:
            with tempfile.TemporaryFile(dir=self._folder) as given, tempfile.TemporaryFile(dir=self._folder) as said:
                given.write(stdin)
                given.seek(0)
                environment = {**_environment(self._folder, protocol), **(variables or {})}
                with self._process(arguments, given, said, environment, held) as process:
                    _limit(process.pid, bounds.file_bytes)
                    with _watched(process.pid, bounds, said, result):
                        assert process.stdout is not None
                        yield process.stdout, result
                        process.stdout.close()
                        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                    result.code = process.wait()
                said.seek(0)
                result.errors = said.read(_MOST_ERRORS).decode("utf-8", "replace")
        except OSError as error:
            raise FetchError(FetchFailure.DISK, f"{self._folder}: {error.strerror}") from error

    @contextlib.contextmanager
    def _process(
        self,
        arguments: Sequence[str],
        given: IO[bytes],
        said: IO[bytes],
        environment: Mapping[str, str],
        held: Sequence[int],
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Yields git in a session of its own. None of its processes outlives this."""
        try:
            process = subprocess.Popen(  # noqa: S603 - without a shell
                ["git", *arguments],  # noqa: S607 - as the PATH of the agent says
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
                pass_fds=held,
            )
        except FileNotFoundError as error:
            missing = FetchFailure.NO_GIT if self._folder.is_dir() else FetchFailure.DISK
            raise FetchError(missing, "the program git is not in PATH") from error
        _running.add(process.pid)
        with process:
            try:
                yield process
            finally:
                _running.discard(process.pid)
                if process.returncode is None:
                    kill_group(process.pid)
                if process.stdout is not None:
                    process.stdout.close()


def kill_group(group: int) -> None:
    """Kill all processes of a group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@atexit.register
def _kill_running() -> None:
    """An agent that ends does not wait for its fetch, which may take minutes."""
    for group in tuple(_running):
        kill_group(group)


def search_path() -> str:
    """PATH without relative folders."""
    given = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in given if folder.startswith("/"))


def _environment(folder: Path, protocol: str) -> dict[str, str]:
    """Everything that git knows about its surroundings."""
    return {
        "PATH": search_path(),
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_DIR": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_ALLOW_PROTOCOL": protocol,
    }


def _limit(pid: int, file_bytes: int | None) -> None:
    """Limit memory and files of a process and of those that it starts. One that has ended already needs no limit."""
    limits = {resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_CORE: 0}
    if file_bytes is not None:
        limits[resource.RLIMIT_FSIZE] = file_bytes
    for kind, most in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, kind, (most, most))


@contextlib.contextmanager
def _watched(group: int, bounds: Bounds, said: IO[bytes], result: Result) -> Iterator[None]:
    """Kill the group as soon as it exceeds a limit, and write the reason to the result."""
    ended, until = threading.Event(), monotonic() + bounds.seconds

    def excess() -> FetchError | None:
        if monotonic() >= until:
            return FetchError(FetchFailure.TIMEOUT, f"git did not end within {bounds.seconds:g} s")
        if bounds.exceeded():
            return FetchError(FetchFailure.TOO_LARGE, "the server sent too much")
        if os.fstat(said.fileno()).st_size > _MOST_ERRORS:
            return FetchError(FetchFailure.OTHER, "the server sent too many messages")
        return None

    def watch() -> None:
        while not ended.wait(min(_CHECK_SECONDS, max(0.0, until - monotonic()))):
            result.stopped = excess()
            if result.stopped is not None:
                kill_group(group)
                return

    watcher = threading.Thread(target=watch, name="git", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
