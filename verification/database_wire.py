"""A TCP proxy between the agents and the server of their database, which loses answers.

The server executes the statement of a lost answer, and the connection of the agent ends. So the agent does not know
whether its commit was done.
"""

import asyncio
import contextlib
import threading
from random import Random
from typing import Self

_BIND = b"B"  # the first byte of the message that executes a prepared statement


class DatabaseWire:
    """Listens in a thread of its own, and forwards to a Unix socket. `rate`: the share of statements without answer."""

    def __init__(self, target: str, seed: int) -> None:
        self.rate = 0.0
        self.lost = 0  # answers
        self.port = 0
        self._target = target
        self._chance = Random(f"database wire/{seed}")
        self._loop = asyncio.new_event_loop()
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # the loop closes the sockets

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                there, back = await asyncio.open_unix_connection(self._target)
                try:
                    await self._forward(reader, writer, there, back)
                finally:
                    back.transport.abort()
            finally:
                writer.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        answers = asyncio.create_task(_copy(there, writer))
        try:
            while data := await reader.read(2**20):
                loses = data[:1] == _BIND and self._chance.random() < self.rate
                if loses:
                    answers.cancel()
                    await asyncio.wait([answers])
                back.write(data)
                await back.drain()
                if loses:
                    await there.read(2**16)
                    self.lost += 1
                    return
        finally:
            answers.cancel()
            await asyncio.wait([answers])


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then close the target."""
    with contextlib.suppress(OSError):
        while data := await source.read(2**20):
            target.write(data)
            await target.drain()
        target.close()
