"""The integrity check of the state file.

SQLite itself refuses a file with a wrong header, or with fewer pages than the header counts. At the start, the agent
verifies every open request against its history, and checks every page of a small file. The duration depends on the
number of open requests and not on the number of done ones.

The check of a large file takes longer (300 MB/s), so it runs on its own connection while the agent works
(`check_integrity`). The agent bills nothing because of an unchecked page: every open request is verified, and only a
new generation of a done request starts anything.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from agent.core.errors import StoreDamaged
from agent.store.audit import open_requests
from agent.store.reading.common_reads import OPEN
from agent.store.sqlite.connection import Connection, open_reader, refuse_damaged, sqlite3, store_error

SMALL = 64 << 20  # bytes that the agent checks at its start: at most 0.2 s
_NICENESS = 19  # of the thread that checks the pages
_INTERRUPT_INTERVAL = 0.01  # seconds between two interrupts


def is_small(path: Path) -> bool:
    """True if the agent checks the whole file at its start."""
    return path.stat().st_size <= SMALL


def refuse_unreadable(path: Path, connection: Connection) -> None:
    """Raise StoreDamaged for a truncated file, and for a small file with a damaged page."""
    if is_small(path):
        refuse_damaged(path, connection)
    else:
        connection.execute("PRAGMA page_count").fetchone()  # SQLite compares it with the size of the file


def refuse_unverified(path: Path, connection: Connection) -> None:
    """Raise StoreDamaged if an open request differs from its history."""
    rows = connection.execute(f"SELECT * FROM {OPEN}")  # noqa: S608 - constant
    names = [column[0] for column in rows.description]
    requests = (dict(zip(names, values, strict=True)) for values in rows)
    open_requests.refuse_unverified(connection, requests, f"state file {path}")


async def check_integrity(path: Path, check: Callable[[Path, Connection], None] = refuse_damaged) -> None:
    """Check every page in a thread of low priority. Raises StoreDamaged. Can be cancelled."""
    connection = open_reader(path)
    with ThreadPoolExecutor(1, "store-check", _lower_priority) as pool:
        checking = asyncio.get_running_loop().run_in_executor(pool, check, path, connection)
        try:
            await asyncio.shield(checking)
        except asyncio.CancelledError:
            while not checking.done():  # an interrupt between two statements is lost
                connection.interrupt()
                await asyncio.wait({checking}, timeout=_INTERRUPT_INTERVAL)
            found = checking.exception()
            damage = store_error(path, found) if isinstance(found, sqlite3.DatabaseError) else found
            if isinstance(damage, StoreDamaged):  # found before the interrupt: it must not be lost
                raise damage from None
            raise
        except sqlite3.DatabaseError as error:
            raise store_error(path, error) from None
        finally:
            await asyncio.wait({checking})
            connection.close()


def _lower_priority() -> None:
    with suppress(OSError, AttributeError):  # only Linux has a priority for each thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
