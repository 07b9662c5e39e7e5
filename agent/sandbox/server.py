"""The simulator on a real port: uvicorn in the running event loop."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import uvicorn

from agent.sandbox import persistence
from agent.sandbox.app import Services, application
from agent.sandbox.config import SandboxConfig
from agent.sandbox.events import sender
from agent.sandbox.events.outbox import Outbox
from agent.sandbox.events.sender import EventSender, Wait
from agent.sandbox.faults.injection import FaultInjector, Protocol
from agent.sandbox.faults.rules import Faults
from agent.sandbox.ledger import Ledger
from agent.sandbox.tokens import Tokens
from agent.sandbox.world import World

_BACKLOG = 2048  # connections that wait to be accepted, as in uvicorn
SAVE_EVERY = 1.0  # seconds between two checks for changes of the world


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers, which belong to the calling program. It signals readiness and stops at once,
    because tests start and stop it often."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.end = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the Date header current until the end."""
        while not self.end.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.end.wait(), 1)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and signal readiness."""
        await super().startup(sockets)
        self.ready.set()


class SandboxServer:
    """One simulator. `clock` returns epoch seconds, `sleep` waits for latency, and `wait` waits between events. Tests
    replace all three."""

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wait: Wait = sender.wait,
    ) -> None:
        self.config = config or SandboxConfig()
        clock = clock or _steady()
        self.url = ""
        self.world = World(self.config, clock)
        self.faults = Faults(self.config.seed)
        self.faults.add(self.config.faults)
        self.tokens = Tokens(self.config, clock)
        self.outbox = Outbox(self.world, self.faults)
        self.courier = EventSender(self.outbox, clock, wait)
        self._wire = FaultInjector(clock, sleep)
        self._server: _Uvicorn | None = None
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ledger(self) -> Ledger:
        """The ledger of the world."""
        return self.world.ledger

    async def start(self) -> str:
        """Restore the saved world, listen, and return the base URL, `http://host:port`."""
        path = self.config.persist
        if path and path.exists():
            persistence.restore(self.world, path)
        listener = _listener(self.config.host, self.config.port)
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self.url = self.world.flows.base = f"http://{host}:{listener.getsockname()[1]}"
        self._server = _Uvicorn(self._uvicorn())
        self._tasks = [asyncio.create_task(self._server.serve([listener]))]
        if path:
            self._tasks.append(asyncio.create_task(self._save(path)))
        self.outbox.subscribe(self.config.events)
        self._sending = asyncio.create_task(self.courier.run())
        await self._server.ready.wait()
        return self.url

    async def stop(self) -> None:
        """Answer open requests, cut hanging ones, and save the world."""
        if self._server is None:
            return
        self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending
        self._server.end.set()
        self._wire.close()
        serving, *saving = self._tasks
        await serving
        self._stopped.set()
        await asyncio.gather(*saving)
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _uvicorn(self) -> uvicorn.Config:
        desk = Services(self.world, self.tokens, self.faults, self.outbox, self._wire)
        return uvicorn.Config(
            application(desk),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the world has its own clock
            # Far longer than clients keep an idle connection, because only a scripted fault may cut it.
            timeout_keep_alive=600,
            timeout_graceful_shutdown=2,
        )

    async def _save(self, path: Path) -> None:
        """Save a changed world about once a second, and once more after the last possible change."""
        saved = -1
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), SAVE_EVERY)
            if saved != self.world.changes or self._stopped.is_set():
                saved = self.world.changes
                await asyncio.to_thread(persistence.write, path, persistence.dump(self.world))


def _steady() -> Callable[[], float]:
    """A clock that starts at the time of day and then ignores changes of the host's clock, as Assure does."""
    elapsed = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    began = time.time() - elapsed()
    return lambda: began + elapsed()


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket with IPPROTO_TCP set. Without it asyncio keeps Nagle's algorithm, which costs 40 ms per call."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # until then, another process may bind the same port
    except OSError:
        listener.close()
        raise
    return listener


async def main_async(config: SandboxConfig, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM. `announce` receives the base URL when the server listens."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    try:
        async with SandboxServer(config) as server:
            announce(server.url)
            await end.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
