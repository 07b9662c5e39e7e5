"""How a running agent is: ready or not and why, and whether the circuit is open, noted in the store for `doctor`."""

import asyncio

from agent.account import CIRCUIT
from agent.assure.brakes import Opened
from agent.chronicle import CIRCUIT_HINTS, Chronicle
from agent.core.errors import AgentError
from agent.ending import Ending
from agent.store.sqlite import SqliteStore


class Condition:
    """Readiness and the circuit. `settled` waits for what is still being noted."""

    def __init__(self, store: SqliteStore, chronicle: Chronicle, ending: Ending) -> None:
        self._store = store
        self._chronicle = chronicle
        self._ending = ending
        self._opened: Opened | None = None
        self._notes: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """At the start no circuit is open any more."""
        if self._store.recall(CIRCUIT):
            await self._store.remember(CIRCUIT, "")

    def not_ready(self) -> str | None:
        """The reason why not, or None."""
        if self._ending.failure is not None:
            return "failed"
        last = self._chronicle.last
        if last is None or last.error is not None:
            return "the source was not read"
        return None if not self._ending.asked.is_set() else "ending"

    def circuit(self) -> str | None:
        """Why the circuit is open, and what ends that."""
        opened = self._opened
        return None if opened is None else f"{opened.cause}; {CIRCUIT_HINTS[opened.cause]}"

    def circuit_turned(self, opened: Opened | None) -> None:
        """The circuit opened, or closed: said in the log and the metrics, and noted for `doctor`."""
        self._opened = opened
        self._chronicle.circuit(opened)
        note = asyncio.create_task(self._note("" if opened is None else opened.cause.value))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self, text: str) -> None:
        try:
            await self._store.remember(CIRCUIT, text)
        except AgentError as error:
            self._ending.failed(error)

    async def settled(self) -> None:
        """Return when all is noted."""
        await asyncio.gather(*self._notes, return_exceptions=True)
