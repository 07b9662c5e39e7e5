"""A raw HTTP/1.1 server on loopback that plays a script: one behaviour for each request it reads, in order.

It shares nothing with the client under test but the socket, and records what was delivered: the oracle for "sent once".
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One request as the server read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def json(self) -> object:
        return json.loads(self.body)


class HangUp(Exception):
    """The behaviour ends the connection."""


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def raw(data: bytes, *, hang_up: bool = False) -> Behaviour:
    """Send these bytes."""

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if hang_up:
            raise HangUp

    return play


def answer(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Behaviour:
    """A complete answer. A body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if status != 204:
        lines.append(f"Content-Length: {len(content)}")
    return raw("\r\n".join([*lines, "", ""]).encode() + content)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Read the request, then close without an answer."""
    raise HangUp


async def reset(writer: asyncio.StreamWriter) -> None:
    """Read the request, then a TCP reset."""
    writer.transport.abort()
    raise HangUp


async def silence(writer: asyncio.StreamWriter) -> None:
    """Read the request and never answer."""
    await asyncio.Event().wait()


def endless(begin: bytes, more: bytes, taken: list[int] | None = None) -> Behaviour:
    """Send an endless answer until the client hangs up. `taken` gets the bytes that were sent."""
    block = more * (65536 // len(more) + 1)

    async def play(writer: asyncio.StreamWriter) -> None:
        sent = 0
        writer.write(begin)
        try:
            while True:
                writer.write(block)
                await writer.drain()
                sent += len(block)
        finally:
            if taken is not None:
                taken.append(sent)

    return play


def cut(status: int, body: bytes, declared: int) -> Behaviour:
    """A body that ends before its declared length."""
    return raw(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {declared}\r\n\r\n".encode() + body, hang_up=True)


def drip(status: int, body: bytes, every: float) -> Behaviour:
    """A body that comes byte by byte: never silent, never done."""

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)

    return play


@dataclass
class ScriptedServer:
    """Plays `script`, one behaviour per request. Requests to /token are answered apart, from `tokens`."""

    script: list[Behaviour] = field(default_factory=list)
    tokens: list[Behaviour] = field(default_factory=list)  # when used up: token-1, token-2, …, valid 600 s
    deliveries: list[Delivery] = field(default_factory=list)
    token_deliveries: list[Delivery] = field(default_factory=list)
    port: int = 0
    pause: float = 0.0  # seconds between reading the head of a request and its body

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def will(self, *behaviours: Behaviour) -> Self:
        self.script.extend(behaviours)
        return self

    @property
    def lines(self) -> list[str]:
        return [delivery.line for delivery in self.deliveries]

    async def __aenter__(self) -> Self:
        self._connections: list[asyncio.Task[None]] = []
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self._connections)
        self._connections.append(asyncio.create_task(self._serve(reader, writer, number)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            with suppress(HangUp, ConnectionError, asyncio.IncompleteReadError):
                while True:
                    delivery = await _read(reader, number, self.pause)
                    await self._next(delivery)(writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _next(self, delivery: Delivery) -> Behaviour:
        if delivery.target == "/token":
            self.token_deliveries.append(delivery)
            token = {"access_token": f"token-{len(self.token_deliveries)}", "expires_in": 600}
            return self.tokens.pop(0) if self.tokens else answer(200, {**token, "token_type": "Bearer"})
        self.deliveries.append(delivery)
        return self.script.pop(0) if self.script else answer(599, b"the script has ended")


async def delivered(server: ScriptedServer) -> None:
    """Return once the server has read a request."""
    while not server.deliveries:
        await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader, number: int, pause: float) -> Delivery:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    assert "transfer-encoding" not in headers, "we declare the length of what we send"
    await asyncio.sleep(pause)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Delivery(method=method, target=target, headers=headers, body=body, connection=number)
