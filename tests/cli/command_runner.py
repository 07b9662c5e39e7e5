"""Run commands in tests: in this process, or in another one if signals or pids matter."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from agent.cli import main
from agent.sandbox import SandboxConfig, SandboxServer
from tests.support.environment import World
from tests.support.timeouts import PATIENT

COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]
FREE_PORT = ("--listen", "127.0.0.1:0")


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)

    def is_one_clear_error(self, *parts: str, code: int = 1) -> None:
        """Check for one line with the cause and `Try:`, this exit code, and no traceback."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if line.startswith("assure-agent: ")]
        assert len(lines) == 1, self
        assert re.search(r"[.?] Try: ", lines[0]), lines[0]
        assert lines[0].endswith(".")
        for part in parts:
            assert part in lines[0], lines[0]
        assert "Traceback" not in self.err + self.out


class Here:
    """The command in this process, in a separate folder. All settings come from `env`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.env = {"CLIENT_ID": "sandbox-client", "CLIENT_SECRET": "sandbox-secret", "LISTEN": "127.0.0.1:0"}
        self._patch, self._capture = patch, capture

    def __call__(self, *arguments: str, **env: str) -> CommandResult:
        """Run the command. Keywords are settings without their prefix."""
        with self._patch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["assure-agent", *arguments])
            for name, value in (self.env | env).items():
                patch.setenv(f"ASSURE_AGENT_{name}", value)
            self._capture.readouterr()
            code = 0
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                structlog.reset_defaults()
            said = self._capture.readouterr()
        return CommandResult(code, said.out, said.err)


def on_world(here: Here, world: World) -> Here:
    """The command with the store and the sandbox of this world."""
    config = world.sandbox.config
    here.env |= {
        "STATE_URL": f"sqlite:///{world.state}",
        "BASE_URL": world.sandbox.url,
        "CLIENT_ID": config.client_id,
        "CLIENT_SECRET": config.client_secret,
    }
    return here


def spawn(folder: Path, *arguments: str, program: str = COMMAND[-1], **env: str) -> "subprocess.Popen[str]":
    """Start the command, or another `program`, in another process. End it with `finish`."""
    given = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    given |= {f"ASSURE_AGENT_{name}": value for name, value in env.items()}
    return subprocess.Popen(
        [*COMMAND[:-1], program, *arguments],
        cwd=folder,
        env=given,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """The first line of stdout that contains the text."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"it ended without {text!r}: {finish(process)}")


def finish(
    process: "subprocess.Popen[str]", number: signal.Signals | None = None, seconds: float = PATIENT
) -> CommandResult:
    """Wait for the end of the process, after an optional signal."""
    if number is not None:
        process.send_signal(number)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end within {seconds} s: {out} {err}") from None
    return CommandResult(process.returncode, out, err)


@contextmanager
def sandbox(**switches: Any) -> Iterator[SandboxServer]:
    """A sandbox in another thread, because the command needs this one."""
    up = threading.Event()
    servers: list[tuple[SandboxServer, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        end = asyncio.Event()
        async with SandboxServer(SandboxConfig(**{"verification_delay": (0.0, 0.0), **switches})) as server:
            servers.append((server, asyncio.get_running_loop(), end))
            up.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(PATIENT)
    server, loop, end = servers[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
