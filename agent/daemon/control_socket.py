"""The control socket: a Unix socket next to the store, mode 0600."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson

from agent.daemon.commands import Control
from agent.daemon.peer_credentials import peer_of
from agent.store.connection import unwritable

_LONGEST = 64 * 1024  # bytes of a command


_MOST_SILENT = 32  # connections without a whole command; the oldest is closed for a new one


def socket_of(state: Path) -> Path:
    """The socket beside the store."""
    return state.with_name(state.name + ".sock")


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for the socket that is short enough for the system, however deep its folder is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def hearing(control: Control, path: Path) -> AsyncIterator[None]:
    """Hear commands while the block runs. The caller holds the lock, so a socket that is there is a dead one."""

    silent: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(silent) >= _MOST_SILENT:
            silent.pop(oldest := next(iter(silent)))
            oldest.transport.abort()
        silent[writer] = None
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.LimitOverrunError):
                line = await asyncio.wait_for(reader.readline(), 10)
                silent.pop(writer, None)
                request = orjson.loads(line)
                sender = await asyncio.to_thread(peer_of, writer.get_extra_info("socket"))  # a name may be far away
                answer = await control.obey(request if isinstance(request, dict) else {}, sender)
                writer.write(orjson.dumps(answer) + b"\n")
                await asyncio.wait_for(writer.drain(), 10)
        finally:
            silent.pop(writer, None)
            writer.close()

    _remove(path)
    with reachable(path) as name:
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(heard, name, limit=_LONGEST)
        except OSError as error:
            raise unwritable(path.parent, error) from None
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
