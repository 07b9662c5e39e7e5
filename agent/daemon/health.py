"""Readiness and the circuit breaker of a running agent, stored for `doctor` and `explain`."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from agent.assure.circuit_breaker import MAX_TRUSTED_MISSING, Cause, OpenCircuit
from agent.core.errors import AgentError
from agent.core.source_revision import RevisionState
from agent.daemon.telemetry import CIRCUIT_HINTS, Telemetry
from agent.platform.endpoint_health import DISPLAY_NAMES, EndpointHealth, EndpointTrouble, as_json, display_name
from agent.platform.log import logger
from agent.platform.settings import Settings
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, MetaKey
from agent.store.contract import Store
from agent.views.revisions import failure_sentence, refusal_sentence

_INTERVALS = 3  # without a scan, until the standby replicas are not ready
_EXACTNESS = 60.0  # seconds by which the stored time of the last fetch may be late


class AgentHealth:
    """Readiness, circuit breaker and endpoint troubles. `flush` waits until all of them are stored."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        telemetry: Telemetry,
        shutdown: Shutdown,
        endpoints: EndpointHealth,
        clock: Clock,
        revision: Callable[[], Awaitable[RevisionState | None]],
    ) -> None:
        """`revision` reads the state of a git source; None for a folder."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._shutdown = shutdown
        self._endpoints = endpoints
        self._revision = revision
        self._opened: OpenCircuit | None = None
        self._notes: set[asyncio.Task[None]] = set()

    async def reset(self) -> None:
        """Forget the circuit breaker and the troubles of an earlier run. Those of other replicas are current."""
        if self._store.shared and (await self._store.shared_state()).replicas > 1:
            return
        for key in (MetaKey.CIRCUIT, MetaKey.ENDPOINTS):
            if await self._store.recall(key):
                await self._store.remember(key, "")

    async def not_ready_reason(self) -> str | None:
        """The reason why the agent is not ready, or None."""
        if self._shutdown.failure is not None:
            return "failed"
        if self._store.away:
            return "the database does not answer"
        last = self._telemetry.last_sync
        if (last is None or last.scan.error is not None) and not await self._read_by_another():
            return await self._unread_reason()
        if (denied := self._endpoints.denied) is not None:
            return f"credentials: {denied.sentence}"
        return None if not self._shutdown.requested.is_set() else "ending"

    async def _read_by_another(self) -> bool:
        """True if another replica has read the source within three intervals."""
        if not self._store.shared:
            return False
        settings = self._settings
        interval = settings.source_interval + _EXACTNESS if settings.source_url else settings.scan_interval
        at = await self._store.source_read_at(settings.source_name)
        return at is not None and self._clock.now() - at <= _INTERVALS * interval

    async def _unread_reason(self) -> str:
        """Why the agent has not read its source."""
        state = await self._revision()
        if state is None or state.acted is not None:
            return "the source cannot be read"
        if state.refused is not None:
            return f"no revision of the source yet: {refusal_sentence(state.refused)[0]}"
        if state.failure is not None:
            return f"no revision of the source yet: {failure_sentence(state.failure)[0]}"
        return "no revision of the source yet"

    def circuit_reason(self) -> str | None:
        """Why the circuit breaker is open, and what closes it; None if it is closed."""
        opened = self._opened
        if opened is None:
            return None
        detail = self._circuit_detail(opened)
        return "; ".join(part for part in (opened.cause, detail, CIRCUIT_HINTS[opened.cause]) if part)

    def _circuit_detail(self, opened: OpenCircuit) -> str:
        """The troubles of Assure and its token endpoint, in sentences. With MISSING, Assure answers without trouble."""
        if opened.cause is Cause.MISSING:
            return f"more than {MAX_TRUSTED_MISSING} dossiers or paths are missing at Assure"
        troubles = self._endpoints.known.items()
        return "; ".join(f"{display_name(name)}: {one.sentence}" for name, one in troubles if name in DISPLAY_NAMES)

    def database_changed(self, cause: str | None) -> None:
        """Log that the server of the database went away, for this cause, or that it answers again: None."""
        if cause is not None:
            hint = "the agent starts nothing new, and continues automatically when the server answers"
            logger().warning("the database does not answer", error=cause, hint=hint)
        else:
            logger().warning("the database answers again")

    def troubles(self) -> tuple[tuple[str, float, str], ...]:
        """The endpoints in trouble: the name, the start time, and the cause in a sentence."""
        return tuple((display_name(name), one.since, one.sentence) for name, one in self._endpoints.current.items())

    def endpoint_changed(self, name: str, before: EndpointTrouble | None, after: EndpointTrouble | None) -> None:
        """Log, measure and store that the trouble of an endpoint began, changed or ended."""
        self._telemetry.endpoint_changed(name, before, after)
        self._schedule_note(MetaKey.ENDPOINTS, json.dumps(as_json(self._endpoints.known)))

    async def end_recovered(self) -> None:
        """End the trouble of each endpoint that has recovered."""
        self._endpoints.end_recovered()

    def circuit_changed(self, opened: OpenCircuit | None) -> None:
        """Log, measure and store that the circuit breaker opened or closed."""
        self._opened = opened
        self._telemetry.circuit_changed(opened, self._circuit_detail(opened) if opened is not None else "")
        self._schedule_note(MetaKey.CIRCUIT, "" if opened is None else opened.cause.value)

    def _schedule_note(self, key: MetaKey, text: str) -> None:
        note = asyncio.create_task(self._write_note(key, text))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write_note(self, key: MetaKey, text: str) -> None:
        try:
            await self._store.remember(key, text)
        except AgentError as error:
            self._shutdown.fail(error)

    async def flush(self) -> None:
        """Wait until everything is stored."""
        await asyncio.gather(*self._notes, return_exceptions=True)
