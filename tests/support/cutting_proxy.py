"""A TCP proxy before a Unix socket, which loses a question, loses an answer, or delivers a question late."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import Enum


class Cut(Enum):
    """The next question of a client. Its connection breaks in each case."""

    QUESTION = "the server never receives it"
    ANSWER = "the server does it, and its answer is lost"
    LATE = "the server receives it when the test says so"


class CuttingProxy:
    """A running proxy."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._clients: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self._cuts: list[Cut | None] = []
        self._refusing = False
        self.port = 0
        self.questions = 0  # executed statements
        self.refused = 0  # connections that were refused
        self.late = 0  # questions that were delivered late and answered

    def cut(self, *cuts: Cut | None) -> None:
        """Cut the next questions like this, in this order. None: let one pass."""
        self._cuts += cuts

    def refuse(self, refusing: bool) -> None:
        """While refusing, break every connection."""
        self._refusing = refusing
        for task in self._clients if refusing else ():
            task.cancel()

    @property
    def pending(self) -> int:
        """How many cuts are still to come."""
        return len(self._cuts)

    def release(self) -> None:
        """Deliver what is late."""
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        if self._refusing:
            self.refused += 1
            writer.transport.abort()
            return
        self._clients.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            try:
                there, back = await asyncio.open_unix_connection(self._target)
                try:
                    await self._forward(reader, writer, there, back)
                finally:
                    back.transport.abort()
            finally:
                writer.transport.abort()
        self._clients.discard(task)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        answers = asyncio.create_task(forwarded(there, writer))
        try:
            while data := await reader.read(2**20):
                self.questions += data[:1] == b"B"  # Bind: a prepared statement is executed
                how = self._cuts.pop(0) if self._cuts and data[:1] == b"B" else None
                if how is not None:
                    await _ended(answers)
                    await self._break(how, data, writer, there, back)
                    return
                back.write(data)
                await back.drain()
        finally:
            await _ended(answers)

    async def _break(
        self,
        how: Cut,
        data: bytes,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        if how is Cut.LATE:
            writer.transport.abort()
            await self._released.wait()
        if how is not Cut.QUESTION:
            back.write(data)
            await there.read(2**16)
            self.late += how is Cut.LATE
        writer.transport.abort()

    async def end(self) -> None:
        """End all connections."""
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)


async def forwarded(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Forward until the source ends, then close the target."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(2**20):
            target.write(data)
            await target.drain()
        target.close()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@contextlib.asynccontextmanager
async def cutting_proxy(target: str) -> AsyncIterator[CuttingProxy]:
    """Run a proxy on a port of 127.0.0.1."""
    proxy = CuttingProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
