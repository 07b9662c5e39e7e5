"""Ownership of the store: one agent at a time writes [I7].

An agent begins a life with a random epoch, and a row that says until when it lives, by the clock of the server. It
renews the row three times in that time. Each commit locks the row and fails without it. Another agent removes the row
only after its time, so nothing of an ended life can be committed later.
"""

import asyncio
import math
import os
import socket
import uuid
from collections.abc import Callable

from agent.core.errors import StoreLocked

from .driver import Connection, Pool
from .errors import is_away, translated

LEASE = 15.0  # seconds
_WAIT = 0.5  # seconds between two tries to join


class Ownership:
    """The life of this agent."""

    def __init__(self, pool: Pool, where: str, lease: float = LEASE) -> None:
        """`where` names the database in errors."""
        self.epoch = uuid.uuid4()
        self._pool = pool
        self._where = where
        self._lease = lease

    async def join(self, patience: float = 0.0) -> None:
        """Begin the life. Raises StoreLocked if another agent lives, also after `patience` seconds.

        The row of a killed agent lives on for up to its lease.
        """
        name = f"{socket.gethostname()}:{os.getpid()}"
        end = asyncio.get_running_loop().time() + patience
        while True:
            with translated(self._where):
                row = await self._pool.fetchrow("SELECT * FROM join_agent($1, $2, $3)", self.epoch, name, self._lease)
            if row["owner"] is None:
                return
            if asyncio.get_running_loop().time() >= end:
                raise StoreLocked(
                    f"The agent {row['owner']} owns the database {self._where}.",
                    f"stop that agent; if it was killed, try again in {math.ceil(row['remaining'])} s",
                )
            await asyncio.sleep(_WAIT)

    async def renew(self, connection: Connection | None = None) -> bool:
        """Extend the life. False: another agent owns the store. Raises an error of the driver if the server is away."""
        return bool(await (connection or self._pool).fetchval("SELECT renew_agent($1, $2)", self.epoch, self._lease))

    async def keep(self, lost: Callable[[], object]) -> None:
        """Renew until this is cancelled. Calls `lost` and returns when another agent owns the store."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if not await asyncio.wait_for(self.renew(), self._lease / 3):
                    lost()
                    return
            except Exception as error:
                if not is_away(error):
                    raise

    async def leave(self) -> None:
        """End the life, so that another agent may join at once."""
        with translated(self._where):
            await self._pool.execute("DELETE FROM agents WHERE epoch = $1", self.epoch)
