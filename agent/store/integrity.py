"""Is the state file sound? What is needed to run is looked at before anything is done, all the rest soon after.

SQLite refuses by itself what it cannot read at all: another header, or fewer pages than the header counts. Before
anything is done, every request that goes on is held against its history, and a small file is looked at page by page.
That takes what is open, and does not grow with what is settled. To read every page of a large file does (300 MB a
second or so), so a connection of its own does it while the agent works (`check_integrity`). Nothing can be billed
from a page that was not looked at yet: of what is settled only a fresh generation starts anything, and of what is open
no row is unverified.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from agent.core.errors import StoreDamaged
from agent.store.audit.verify import verify_request
from agent.store.connection import Connection, open_reader, refuse_damaged, sqlite3, store_error

SMALL = 64 << 20  # bytes that are looked at before anything is done: 0.2 s at the most
_NICENESS = 19  # the niceness of a thread that has time
_INTERRUPT_INTERVAL = 0.01  # seconds between two interrupts


def is_small(path: Path) -> bool:
    """True when there is no reason to look at this file later."""
    return path.stat().st_size <= SMALL


def refuse_unreadable(path: Path, connection: Connection) -> None:
    """Raise StoreDamaged for a file that was cut, and for a small one with a damaged page."""
    if is_small(path):
        refuse_damaged(path, connection)
    else:
        connection.execute("PRAGMA page_count").fetchone()  # SQLite compares it with the size of the file


def refuse_unverified(path: Path, connection: Connection) -> None:
    """Raise StoreDamaged when a request that goes on is not what its history says: nothing may be billed from it."""
    rows = connection.execute("SELECT * FROM requests INDEXED BY requests_open WHERE phase <> 'done'")
    names = [column[0] for column in rows.description]
    for values in rows:
        row = dict(zip(names, values, strict=True))
        for finding in verify_request(connection, row):
            raise StoreDamaged(
                f"The state file {path} is damaged: of request {row['uid']}, {finding.what}.",
                "see all of it with `assure-agent audit verify`; restore the newest backup with `assure-agent restore`",
            )


async def check_integrity(path: Path, check: Callable[[Path, Connection], None] = refuse_damaged) -> None:
    """Look at every page, in a thread that lets all others go first. Raises StoreDamaged. Can be cancelled."""
    connection = open_reader(path)
    with ThreadPoolExecutor(1, "store-look", _lower_priority) as pool:
        looking = asyncio.get_running_loop().run_in_executor(pool, check, path, connection)
        try:
            await asyncio.shield(looking)
        except asyncio.CancelledError:
            while not looking.done():  # an interrupt between two statements is lost
                connection.interrupt()
                await asyncio.wait({looking}, timeout=_INTERRUPT_INTERVAL)
            found = looking.exception()
            damage = store_error(path, found) if isinstance(found, sqlite3.DatabaseError) else found
            if isinstance(damage, StoreDamaged):  # found before the interrupt: it must not be lost
                raise damage from None
            raise
        except sqlite3.DatabaseError as error:
            raise store_error(path, error) from None
        finally:
            await asyncio.wait({looking})
            connection.close()


def _lower_priority() -> None:
    with suppress(OSError, AttributeError):  # where threads have a niceness of their own: Linux
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
