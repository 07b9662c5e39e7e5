"""The control socket: a Unix socket next to the store, with mode 0600."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson

from agent.daemon.commands import CommandHandler
from agent.daemon.peer_credentials import peer_account
from agent.store.sqlite.connection import folder_error

_MAX_COMMAND_BYTES = 64 * 1024
_MAX_IDLE_CONNECTIONS = 32  # connections without a complete command; a new one closes the oldest


def socket_path(state: Path) -> Path:
    """The path of the socket."""
    return state.with_name(state.name + ".sock")


@contextlib.contextmanager
def short_socket_path(path: Path) -> Iterator[str]:
    """A path of the socket that does not exceed the limit of the system, for any depth of its folder."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def serve_control_socket(control: CommandHandler, path: Path) -> AsyncIterator[None]:
    """Receive commands while the block runs. The caller has the lock, so an existing socket is a stale one."""
    _remove(path)
    with short_socket_path(path) as name:
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(_Connections(control).serve, name, limit=_MAX_COMMAND_BYTES)
        except OSError as error:
            raise folder_error(path.parent, error) from None
        finally:
            os.umask(mask)
        own = _identity(path)
        try:
            yield
        finally:
            server.close()
            with contextlib.suppress(OSError):  # on a broken disk, the error of the store is the one to report
                if _identity(path) == own:  # otherwise another agent has created its socket
                    _remove(path)


class _Connections:
    """Serves connections with one command each, and closes idle ones if there are too many."""

    def __init__(self, control: CommandHandler) -> None:
        self._control = control
        self._idle: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one command and write its answer."""
        if len(self._idle) >= _MAX_IDLE_CONNECTIONS:
            self._idle.pop(oldest := next(iter(self._idle)))
            oldest.transport.abort()
        self._idle[writer] = None
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.LimitOverrunError):
                line = await asyncio.wait_for(reader.readline(), 10)
                self._idle.pop(writer, None)
                request = orjson.loads(line)
                # In a thread: the account name may come from a remote directory service.
                sender = await asyncio.to_thread(peer_account, writer.get_extra_info("socket"))
                answer = await self._control.execute(request if isinstance(request, dict) else {}, sender)
                writer.write(orjson.dumps(answer) + b"\n")
                await asyncio.wait_for(writer.drain(), 10)
        finally:
            self._idle.pop(writer, None)
            writer.close()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
