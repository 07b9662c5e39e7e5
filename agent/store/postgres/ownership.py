"""The life of a process on a shared database: its epoch, and the lease that fences its writes [I7].

A process begins a life with a random epoch. Its row in `replicas` is the lease: it says until when the process lives,
by the clock of the server. The process renews the row three times in that time. Each write locks the row and fails
without it. Another process removes the row only after its time, so nothing of an ended life can be committed later.

A call to Assure has no such check at its end. Before it, `confirm` asks whether the time is over, by the clock of this
machine: the process may have been stopped since its last commit.
"""

import asyncio
import math
import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeVar

from agent import __version__
from agent.core.errors import Fenced, StoreError, StoreLocked
from agent.platform.clock import boot_clock
from agent.platform.log import logger
from agent.store.read_results import RunningAgent

from .database_time import DatabaseTime
from .driver import Connection
from .persistence import Persistence
from .versions import versioned

T = TypeVar("T")
Kind = Literal["replica", "command", "copy"]
OWNER = """
SELECT name, extract(epoch FROM since)::float8, count(*) OVER () - 1 FROM replicas
WHERE until > clock_timestamp() AND kind = 'replica' ORDER BY since LIMIT 1
"""
_JOIN = versioned("SELECT * FROM join_replica($1, $2, $3, $4, $5, $6)")
_RENEW = versioned("SELECT * FROM renew_replica($1, $2, $3, $4)")
_LEAVE = versioned("SELECT leave_replica($1)")
_OTHERS = """
SELECT EXISTS (
    SELECT 1 FROM replicas WHERE kind = 'replica' AND epoch <> $1 AND NOT ended AND until > clock_timestamp()
)
"""
_WAIT = 0.5  # seconds between two tries to join
_SURE = 0.8  # of the lease, from the request for it on: the clocks of two machines run at different rates
_KINDS = {"replica": "agent", "command": "command", "copy": "copy"}


class Ownership:
    """The life of this process."""

    def __init__(
        self, server: Persistence, lease: float, kind: Kind = "replica", elapsed: Callable[[], float] | None = None
    ) -> None:
        """`lease` is in seconds. `elapsed` is a clock in seconds that a suspend of the machine does not stop."""
        self.epoch = uuid.uuid4()
        self.running_since = math.inf  # since when replicas have run without a gap, in seconds since the epoch
        self.unsettled = False  # a roll call is open: no step may be committed
        self.former: uuid.UUID | None = None  # the life before of this state folder
        self.behind = False  # the database lacks the marked event: it lost transactions
        self.time = DatabaseTime(elapsed or boot_clock())
        self._mark: tuple[int, str] | None = None  # the last event that this life knows to be durable, and its hash
        self._server = server
        self._lease = lease
        self._kind = kind
        self._elapsed = elapsed or boot_clock()
        self.sure_until = -math.inf  # of boot time: no other process removes the lease before

    async def join(self, patient: bool = False) -> None:
        """Begin the life. Raises StoreError, and StoreLocked if a copy is made or this copy is not alone.

        The row of a killed process remains for up to its lease. With `patient`, wait for its end. A process that renews
        its row meanwhile is alive.
        """
        name, before = f"{socket.gethostname()}:{os.getpid()}", math.inf
        while True:
            asked = self._elapsed()
            arguments = self.epoch, name, self._kind, __version__, self._lease, self.former
            row = await self._server.ask(partial(_join, arguments))
            since, other, kind, left, moment, unsettled = row
            if other is None:
                self.running_since, self.unsettled = since, unsettled
                self.time.read(moment, asked)
                self.sure_until = asked + _SURE * self._lease
                return
            if left > before or not patient:
                raise self._locked(other, kind, left, alive=left > before)
            if before is math.inf:
                logger().warning("waiting until the lease of another process ends", seconds=math.ceil(left))
            before = left
            await asyncio.sleep(min(_WAIT, left))

    async def renew(self, connection: Connection) -> bool:
        """Extend the life. False: another process has removed it, or the database lost transactions."""
        asked = self._elapsed()
        event, digest = self._mark or (None, None)
        alive, settled, behind, moment, *last = await connection.fetchrow(
            _RENEW, self.epoch, self._lease, event, digest
        )
        self.unsettled, self.behind = not settled, behind
        if alive:
            self.sure_until = max(self.sure_until, asked + _SURE * self._lease)
            self.time.read(moment, asked)
            self.advance(last[0] or 0, last[1] or "")
        return bool(alive)

    def advance(self, event: int, digest: str) -> None:
        """Note the last event that is durable, and its hash."""
        if self._mark is None or event > self._mark[0]:
            self._mark = event, digest

    def forget(self) -> None:
        """Forget the mark: it belongs to transactions that a recovery gave up."""
        self._mark = None

    async def others(self) -> bool:
        """True if other replicas live."""
        return bool(await self._server.ask(lambda one: one.fetchval(_OTHERS, self.epoch)))

    async def ask(self, statement: Callable[[Connection], Awaitable[T | None]]) -> T:
        """The answer of a statement that is None while this process is fenced. An old lease is renewed once.

        Raises Fenced if another process has removed the lease.
        """
        answer = await self._server.ask(statement)
        if answer is None and await self.restore():
            answer = await self._server.ask(statement)
        if answer is None:
            raise self.fenced()
        return answer

    async def restore(self) -> bool:
        """Renew until no roll call is open. False: the life has ended."""
        while await self._server.ask(self.renew, urgent=True):
            if not self.unsettled:
                return True
            await asyncio.sleep(_WAIT)
        return False

    @property
    def remaining(self) -> float:
        """Seconds until this process may no longer call Assure without a renewal; 0 after that."""
        return max(0.0, self.sure_until - self._elapsed())

    async def confirm(self) -> bool:
        """True if no other process can have removed the lease now. Renews one that may have ended, or waits for it."""
        while self._elapsed() >= self.sure_until:
            try:
                if not await self.restore():
                    return False
            except StoreError:  # the next commit fails as well, and reports it
                return False
        return True

    async def keep(self, lost: Callable[[Fenced], object]) -> None:
        """Renew until this is cancelled. Calls `lost` and returns when another process has removed the lease."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if not await self.restore():
                    lost(self.fenced())
                    return
            except StoreError:  # the next commit fails as well, and reports it
                continue

    async def leave(self) -> None:
        """End the life, so that other replicas continue its work at once."""
        await self._server.ask(lambda one: one.execute(_LEAVE, self.epoch))

    def fenced(self) -> Fenced:
        """The error of a process whose life has ended."""
        if self.behind:
            return Fenced(
                f"The database {self._server.where} lost transactions that it had confirmed, so a recovery begins.",
                "see `assure-agent status`, then run `assure-agent approve`",
            )
        return Fenced(
            f"The lease of this agent (pid {os.getpid()}) on the database {self._server.where} has ended, "
            "and another one removed it.",
            "start the agent again",
        )

    def _locked(self, name: str, kind: str, left: float, alive: bool) -> StoreLocked:
        process = agent_named(name)
        stop = f"stop it with `kill {process.pid}`" if process.host is None else f"stop it on {process.host}"
        if not alive:
            stop += f"; if it was killed, try again in {math.ceil(left)} s"
        return StoreLocked(
            f"Another {_KINDS[kind]} ({process}) uses the database {self._server.where}.",
            f"{stop}, or set STATE_URL to another database",
        )


async def _join(arguments: tuple[object, ...], connection: Connection) -> Any:
    """A repetition after a lost answer is the same life."""
    return await connection.fetchrow(_JOIN, *arguments)


def agent_named(name: str, since: float | None = None, others: int = 0) -> RunningAgent:
    """The process of a row of `replicas`: its name is `host:pid`. `others`: how many others there are."""
    host, _, pid = name.rpartition(":")
    return RunningAgent(pid=int(pid), host=None if host == socket.gethostname() else host, since=since, others=others)
