"""The circuit breaker of this replica and the one that all replicas share, kept equal.

A change of this replica is written at once, and each replica reads the state once a second. Of the answers, only
unexpected 404s are counted together: each replica notices an outage or a Retry-After by itself. The replica that takes
a probe writes its result for all.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from agent.assure.circuit_breaker import (
    MAX_COUNTED_PER_DOSSIER,
    MAX_TRUSTED_MISSING,
    NEVER,
    Cause,
    CircuitBreaker,
    OpenCircuit,
    Span,
)
from agent.core.errors import StoreError
from agent.ports import CircuitState, CircuitTable, SharedCircuit


class SharedBreaker:
    """Writes the changes of a breaker to the store, and applies those of other replicas to it."""

    def __init__(self, table: CircuitTable, breaker: CircuitBreaker) -> None:
        self._table = table
        self._breaker = breaker
        self._opened: OpenCircuit | None = None  # as the store has it, as this replica knows
        self._paused = breaker.paused
        self._trusted = breaker.trusted
        self._found = False  # a dossier was found, and the store has missing ones
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    def notice(self) -> None:
        """Write the changes of the breaker soon, if it has any."""
        breaker = self._breaker
        if (breaker.opened, breaker.paused, breaker.trusted) != (self._opened, self._paused, self._trusted):
            self._changed.set()

    def found_dossier(self) -> None:
        """A dossier of this agent exists. Call it before the breaker forgets the missing ones."""
        if self._breaker.missing:
            self._found = True
            self._changed.set()

    async def run(self) -> None:
        """Write changes until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            with suppress(StoreError):  # the loops report it, and the next poll tries again
                await self.write()

    async def write(self) -> None:
        """Write the changes of the breaker. Raises StoreError."""
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        breaker = self._breaker
        if (trusted := breaker.trusted) != self._trusted:
            await self._table.trust(trusted)
            self._trusted = trusted
        if (opened := breaker.opened) != self._opened:
            if opened is not None and self._opened is not None and opened.is_same(self._opened):
                await self._table.reschedule(_shared(opened))
            elif opened is not None:
                await self._table.open(_shared(opened), urgent=opened.cause is not Cause.OUTAGE)
            elif self._opened is not None:
                await self._table.close(_shared(self._opened))
            self._opened = opened
        if (paused := breaker.paused) != self._paused:
            await self._table.pause(paused)
            self._paused = paused
        if self._found:
            await self._table.found()
            self._found = False

    def apply(self, state: CircuitState, now: float) -> None:
        """Apply what other replicas wrote. A change of this replica that is not written yet comes first."""
        breaker = self._breaker
        paused = Span(*state.paused) if state.paused is not None else NEVER
        if paused.contains(now) and breaker.paused == self._paused:
            breaker.pause_until(paused)
            self._paused = breaker.paused
        if state.trusted is not None and breaker.trusted == self._trusted:
            breaker.trusted = self._trusted = Span(*state.trusted)
        if breaker.opened == self._opened:
            opened = None if state.opened is None else _open(state.opened)
            breaker.set_opened(opened)
            self._opened = opened
            if not self._found:
                breaker.missing = dict(state.missing)
        self.notice()

    async def take_probe(self, opened: OpenCircuit, now: float) -> bool:
        """True if this replica probes now. The next probe is due if it ends before it has a result."""
        try:
            await self.write()
            return await self._table.take_probe(_shared(opened), now, now + opened.interval)
        except StoreError:
            return False

    async def count_missing(self, dossier: str) -> Mapping[str, int] | None:
        """Count an unexpected 404. Returns the counts of all replicas. None: the store cannot count now."""
        most = MAX_COUNTED_PER_DOSSIER if dossier else MAX_TRUSTED_MISSING + 1
        try:
            return await self._table.count_missing(dossier, most)
        except StoreError:
            return None  # no step can be committed then


def _shared(opened: OpenCircuit) -> SharedCircuit:
    return SharedCircuit(
        cause=opened.cause.value, since=opened.since, interval=opened.interval, probe_at=opened.probe_at
    )


def _open(shared: SharedCircuit) -> OpenCircuit:
    return OpenCircuit(
        cause=Cause(shared.cause), since=shared.since, interval=shared.interval, probe_at=shared.probe_at
    )
