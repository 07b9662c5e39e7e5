"""The loop of a git source: refresh it, record the result, and scan the revision if there is something to do.

A refresh runs every SOURCE_INTERVAL, give or take a tenth, and at once after a push or an approval. A scan follows if
another revision was published. It also follows if the last scan left something for the next one, such as a name that
was absent once. Each replica on a shared store fetches, but only the one with the turn of the source scans.

Two scans prove an absence, and the agent asks the server again in between, after ten seconds. Therefore a removal that
is reverted meanwhile withdraws nothing, and a long interval does not delay a withdrawal.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from agent.admission.sync import Admission
from agent.admission.triggers import SyncTriggers
from agent.core.source_revision import RefusedRevision, RevisionState
from agent.platform.settings import Settings
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, MetaKey
from agent.ports.key_value import KeyValue
from agent.ports.store import RevisionStore

if TYPE_CHECKING:
    from agent.source.revisions.git_source import Refreshed

_SPREAD = 0.1  # of the interval: agents that start together do not fetch together
_CONFIRMATION = 10.0  # seconds until the refresh that confirms an absence
_SHORTEST_PAUSE = 1.0  # seconds between the starts of two refreshes


class RevisionSource(Protocol):
    """A source whose revisions are fetched, as `GitSource`."""

    def refresh(self, acted: str | None, approved: str | None) -> "Refreshed":
        """Fetch, verify and publish the newest revision. Blocking; never raises."""


class SourceStore(RevisionStore, KeyValue, Protocol):
    """The store, as the loop uses it."""


StateReader = Callable[[], Awaitable[RevisionState | None]]


def state_of(settings: Settings, store: RevisionStore) -> StateReader:
    """A function that reads the state of the git source. It returns None for a folder."""

    async def read() -> RevisionState | None:
        return await store.revision_state(settings.source_name) if settings.source_url else None

    return read


class RevisionSync:
    """Refreshes one git source and scans it. `refreshed` receives each result, the state and the seconds it took."""

    def __init__(
        self,
        source: RevisionSource,
        name: str,
        interval: float,
        admission: Admission,
        triggers: SyncTriggers,
        store: SourceStore,
        clock: Clock,
        chance: Callable[[], float],
        shutdown: Shutdown,
        refreshed: "Callable[[Refreshed, RevisionState, float], None]",
    ) -> None:
        """`name` is that of the source in the store, `interval` in seconds."""
        self._source, self._name, self._interval = source, name, interval
        self._admission, self._triggers, self._store = admission, triggers, store
        self._clock, self._chance, self._shutdown, self._refreshed = clock, chance, shutdown, refreshed
        self._asked = asyncio.Event()
        self._began = 0.0  # the start of the last refresh, by the clock
        self._unscanned = False  # a revision was published after the last scan

    def fetch_now(self) -> None:
        """Refresh at once. Several calls within a second cause one refresh."""
        self._asked.set()

    async def first_scan(self, on_progress: Callable[[], None] | None = None) -> None:
        """Refresh, then scan in any case: the last good revision if the server does not answer. See `Admission`."""
        await self._shutdown.run_until_requested(self.refresh())
        if not self._shutdown.requested.is_set():
            await self._scan(on_progress)

    async def run(self) -> None:
        """Refresh and scan until cancelled. An exception goes to `Shutdown.fail`, and the loop continues."""
        while True:
            await self._wait()
            try:
                await self.sync()
            except Exception as error:
                self._shutdown.fail(error)

    async def sync(self) -> None:
        """Refresh once, and scan if there is something to do."""
        await self.refresh()
        if self._unscanned or not self._admission.settled:
            await self._scan()

    async def refresh(self) -> None:
        """Refresh once and record the result."""
        self._asked.clear()  # before the server is asked: a push after this needs another refresh
        began = self._began = self._clock.now()
        async with self._admission.unread():
            known = (await self._store.revision_state(self._name)).acted
            acted = known.commit if known is not None else None
            approved = await self._store.recall(MetaKey.REVISION_APPROVED)
            if approved is not None and approved == acted:  # used up: to return to it later needs another approval
                await self._store.remember(MetaKey.REVISION_APPROVED, None)
                approved = None
            found = await self._fetch(acted, approved)
            self._unscanned = self._unscanned or found.published
        now = self._clock.now()
        refused = None
        if found.refused is not None:
            revision, reason, commit = found.refused
            refused = RefusedRevision(revision=revision, reason=reason, commit=commit, since=now)
        if await self._admission.take_turn():  # a standby replica may be behind, or cut off from the server
            await self._store.record_refresh(self._name, now, found.head is not None, refused, found.failure)
        state = await self._store.revision_state(self._name)
        if found.head is not None:
            state = replace(state, fetched_at=now)  # the store is a minute behind at most
        self._refreshed(found, state, max(0.0, now - began))

    async def _fetch(self, acted: str | None, approved: str | None) -> "Refreshed":
        """Refresh the source in a thread that a shutdown does not wait for: a fetch may take minutes."""
        fetched: Future[Refreshed] = Future()

        def work() -> None:
            try:
                fetched.set_result(self._source.refresh(acted, approved))
            except Exception as error:
                fetched.set_exception(error)

        fetched.set_running_or_notify_cancel()
        threading.Thread(target=work, name="fetch", daemon=True).start()
        return await asyncio.wrap_future(fetched)

    async def _scan(self, on_progress: Callable[[], None] | None = None) -> None:
        await self._triggers.scan(on_progress)
        self._unscanned = False

    async def _wait(self) -> None:
        """Wait for the interval, or until `fetch_now`; in any case until a second after the start of the last one."""
        interval = min(self._interval, _CONFIRMATION) if self._admission.doubts_absence else self._interval
        await self._clock.wait(self._asked, interval * (1 + _SPREAD * (2 * self._chance() - 1)))
        since = self._clock.now() - self._began
        if 0.0 <= since < _SHORTEST_PAUSE:
            await self._clock.wait(asyncio.Event(), _SHORTEST_PAUSE - since)
