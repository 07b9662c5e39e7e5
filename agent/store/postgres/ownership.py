"""Ownership of the store: one agent at a time writes [I7].

An agent begins a life with a random epoch, and a row that says until when it lives, by the clock of the server. It
renews the row three times in that time. Each commit locks the row and fails without it. Another agent removes the row
only after its time, so nothing of an ended life can be committed later.

A call to Assure has no such check at its end. Before it, `confirm` asks whether the time is over, by the clock of this
machine: the process may have been stopped since its last commit.
"""

import asyncio
import math
import os
import socket
import uuid
from collections.abc import Callable

from agent.core.errors import StoreError, StoreLocked
from agent.platform.clock import boot_clock
from agent.platform.log import logger
from agent.store.read_results import RunningAgent

from .driver import Connection
from .errors import translated
from .persistence import Persistence

OWNER = """
SELECT name, extract(epoch FROM since)::float8 FROM agents WHERE until > clock_timestamp() ORDER BY until DESC LIMIT 1
"""
LEASE = 15.0  # seconds
_WAIT = 0.5  # seconds between two tries to join
_SURE = 0.8  # of the lease, from the request for it on: the clocks of two machines run at different rates


class Ownership:
    """The life of this agent."""

    def __init__(self, server: Persistence, lease: float = LEASE, elapsed: Callable[[], float] | None = None) -> None:
        """`elapsed` is a clock in seconds that a suspend of the machine does not stop."""
        self.epoch = uuid.uuid4()
        self._server = server
        self._lease = lease
        self._elapsed = elapsed or boot_clock()
        self._sure_until = -math.inf

    async def join(self, patient: bool = False) -> None:
        """Begin the life. Raises StoreLocked if another agent lives, and StoreError.

        The row of a killed agent remains for up to its lease. With `patient`, wait for its end. An agent that renews
        its row meanwhile is alive.
        """
        name, before = f"{socket.gethostname()}:{os.getpid()}", math.inf
        while True:
            asked = self._elapsed()
            with translated(self._server.where):
                owner, left = await self._server.pool.fetchrow(
                    "SELECT * FROM join_agent($1, $2, $3)", self.epoch, name, self._lease
                )
            if owner is None:
                self._sure_until = asked + _SURE * self._lease
                return
            if left > before or not patient:
                raise self._locked(owner, left, alive=left > before)
            if before is math.inf:
                logger().warning("waiting until the lease of the previous agent ends", seconds=math.ceil(left))
            before = left
            await asyncio.sleep(min(_WAIT, left))

    async def renew(self, connection: Connection) -> bool:
        """Extend the life. False: another agent owns the store."""
        asked = self._elapsed()
        renewed = bool(await connection.fetchval("SELECT renew_agent($1, $2)", self.epoch, self._lease))
        if renewed:
            self._sure_until = max(self._sure_until, asked + _SURE * self._lease)
        return renewed

    async def confirm(self) -> bool:
        """True if no other agent can own the store now. Renews a lease that may have ended, or waits for it."""
        while self._elapsed() >= self._sure_until:
            try:
                if not await self._server.ask(self.renew):
                    return False
            except StoreError:  # the next commit fails as well, and reports it
                return False
        return True

    async def keep(self, lost: Callable[[StoreLocked], object]) -> None:
        """Renew until this is cancelled. Calls `lost` and returns when another agent owns the store."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if not await self._server.ask(self.renew):
                    lost(self.fenced())
                    return
            except StoreError:  # the next commit fails as well, and reports it
                continue

    async def leave(self) -> None:
        """End the life, so that another agent may join at once."""
        await self._server.ask(lambda one: one.execute("DELETE FROM agents WHERE epoch = $1", self.epoch))

    def fenced(self) -> StoreLocked:
        """The error of an agent whose life has ended."""
        return StoreLocked(
            f"Another agent has taken the database {self._server.where}, so this one (pid {os.getpid()}) stops.",
            "let only one agent use a database; start this one again if the other one has ended",
        )

    def _locked(self, owner: str, left: float, alive: bool) -> StoreLocked:
        agent = agent_named(owner)
        stop = f"stop it with `kill {agent.pid}`" if agent.host is None else f"stop it on {agent.host}"
        if not alive:
            stop += f"; if it was killed, try again in {math.ceil(left)} s"
        return StoreLocked(
            f"Another agent ({agent}) uses the database {self._server.where}.",
            f"{stop}, or set STATE_URL to another database",
        )


def agent_named(name: str, since: float | None = None) -> RunningAgent:
    """The agent of a row of `agents`: its name is `host:pid`."""
    host, _, pid = name.rpartition(":")
    return RunningAgent(pid=int(pid), host=None if host == socket.gethostname() else host, since=since)
