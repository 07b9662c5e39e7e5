"""The control socket: a Unix socket next to the store, mode 0600."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson

from agent.daemon.commands import CommandHandler
from agent.daemon.peer_credentials import peer_account
from agent.store.connection import folder_error

_MAX_COMMAND_BYTES = 64 * 1024  # bytes of a command


_MAX_IDLE_CONNECTIONS = 32  # connections without a whole command; the oldest is closed for a new one


def socket_path(state: Path) -> Path:
    """The socket beside the store."""
    return state.with_name(state.name + ".sock")


@contextlib.contextmanager
def short_socket_path(path: Path) -> Iterator[str]:
    """A name for the socket that is short enough for the system, however deep its folder is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def serve_control_socket(control: CommandHandler, path: Path) -> AsyncIterator[None]:
    """Hear commands while the block runs. The caller holds the lock, so a socket that is there is a dead one."""

    silent: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(silent) >= _MAX_IDLE_CONNECTIONS:
            silent.pop(oldest := next(iter(silent)))
            oldest.transport.abort()
        silent[writer] = None
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.LimitOverrunError):
                line = await asyncio.wait_for(reader.readline(), 10)
                silent.pop(writer, None)
                request = orjson.loads(line)
                # The name may come from a remote directory service.
                sender = await asyncio.to_thread(peer_account, writer.get_extra_info("socket"))
                answer = await control.execute(request if isinstance(request, dict) else {}, sender)
                writer.write(orjson.dumps(answer) + b"\n")
                await asyncio.wait_for(writer.drain(), 10)
        finally:
            silent.pop(writer, None)
            writer.close()

    _remove(path)
    with short_socket_path(path) as name:
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(heard, name, limit=_MAX_COMMAND_BYTES)
        except OSError as error:
            raise folder_error(path.parent, error) from None
        finally:
            os.umask(mask)
        ours = _identity(path)
        try:
            yield
        finally:
            server.close()
            with contextlib.suppress(OSError):  # on a broken disk it stays; an error of it would hide that of the store
                if _identity(path) == ours:  # else another agent hears there by now
                    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
