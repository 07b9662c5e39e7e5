"""How a running agent is: ready or not and why, and whether the circuit is open, noted in the store for `doctor`."""

import asyncio
import json

from agent.assure.account import CIRCUIT, ENDPOINTS
from agent.assure.circuit_breaker import Opened
from agent.core.errors import AgentError
from agent.daemon.telemetry import CIRCUIT_HINTS, Chronicle
from agent.platform.endpoint_health import NAMES, Endpoints, Trouble, as_json, named
from agent.platform.shutdown import Ending
from agent.store.sqlite import SqliteStore


class Condition:
    """Readiness and the circuit. `settled` waits for what is still being noted."""

    def __init__(self, store: SqliteStore, chronicle: Chronicle, ending: Ending, endpoints: Endpoints) -> None:
        self._store = store
        self._chronicle = chronicle
        self._ending = ending
        self._endpoints = endpoints
        self._opened: Opened | None = None
        self._notes: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """At the start no circuit is open any more, and nothing is known of the endpoints."""
        for key in (CIRCUIT, ENDPOINTS):
            if self._store.recall(key):
                await self._store.remember(key, "")

    def not_ready(self) -> str | None:
        """The reason why not, or None."""
        if self._ending.failure is not None:
            return "failed"
        last = self._chronicle.last
        if last is None or last.error is not None:
            return "the source was not read"
        if (denied := self._endpoints.denied) is not None:
            return f"credentials: {denied.sentence}"
        return None if not self._ending.asked.is_set() else "ending"

    def circuit(self) -> str | None:
        """Why the circuit is open, and what ends that."""
        opened = self._opened
        if opened is None:
            return None
        causes = [f"{named(name)}: {one.sentence}; " for name, one in self._endpoints.current.items() if name in NAMES]
        return f"{opened.cause}; {''.join(causes)}{CIRCUIT_HINTS[opened.cause]}"

    def troubles(self) -> tuple[tuple[str, float, str], ...]:
        """The endpoints in trouble: the name, since when, the cause in a sentence."""
        return tuple((named(name), one.since, one.sentence) for name, one in self._endpoints.current.items())

    def endpoint_changed(self, name: str, before: Trouble | None, after: Trouble | None) -> None:
        """The trouble of an endpoint began, changed or ended: logged, measured, and noted for other commands."""
        self._chronicle.endpoint(name, before, after)
        self._noted(ENDPOINTS, json.dumps(as_json(self._endpoints.known)))

    def circuit_turned(self, opened: Opened | None) -> None:
        """The circuit opened, or closed: said in the log and the metrics, and noted for `doctor`."""
        self._opened = opened
        self._chronicle.circuit(opened)
        self._noted(CIRCUIT, "" if opened is None else opened.cause.value)

    def _noted(self, key: str, text: str) -> None:
        note = asyncio.create_task(self._note(key, text))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self, key: str, text: str) -> None:
        try:
            await self._store.remember(key, text)
        except AgentError as error:
            self._ending.failed(error)

    async def settled(self) -> None:
        """Return when all is noted."""
        await asyncio.gather(*self._notes, return_exceptions=True)
