"""Commands while no agent runs: the lock is taken, and records are told through the store alone."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.admission import Admission, Rules
from agent.assure.document_type_cache import Catalogue, Silence
from agent.core.errors import AgentError
from agent.core.machine import admit, step
from agent.core.observations import Observation, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.daemon.commands import Control
from agent.daemon.peer_credentials import this_process
from agent.platform.clock import ANCHOR, Anchor, SystemClock
from agent.platform.settings import Settings
from agent.ports import Store
from agent.source.folder import Folder
from agent.store.sqlite import SqliteStore


class StillRecords:
    """Records that nobody drives: what they are told is folded in at once, and nothing is asked."""

    def __init__(self, store: Store, clock: SystemClock, policy: Policy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests."""
        await self._store.commit([admit(record, self._clock.now(), self._policy) for record in records])

    async def tell(self, observations: Mapping[str, Observation]) -> None:
        """Fold each in, after what an ended agent left open."""
        for uid, observation in observations.items():
            record = self._store.get(uid)
            if record is None:
                continue
            if record.intent is not None:
                resumed = step(record, Resumed(at=self._clock.now()), self._policy, ask=False)
                await self._store.commit([resumed])
                record = resumed.record
            told = step(record, observation, self._policy, ask=False)
            if told.changed:
                await self._store.commit([told])


async def _obeyed(control: Control, store: SqliteStore, request: Mapping[str, Any]) -> dict[str, Any]:
    answer = await control.obey(request, this_process())
    with contextlib.suppress(AgentError):  # it is obeyed; what is left over is done by the next agent
        await store.tidy()
    return answer


def obey(settings: Settings, request: Mapping[str, Any]) -> dict[str, Any]:
    """Obey one command on a store that no agent holds. Raises StoreLocked when one does."""
    store = SqliteStore(settings.state_path, None, claims_key=settings.claims_key.get_secret_value())
    try:
        clock = SystemClock()
        clock.resume(store.last_event_at(), Anchor.read(store.recall(ANCHOR)))
        recovering = store.recoveries.open() is not None
        policy = replace(settings.policy, recovering=recovering, timeless=not clock.confirmed)
        records = StillRecords(store, clock, policy)
        rules = Rules.of(settings, store.keys.agent_id())
        types = Catalogue(Silence(), store, clock)
        folder = Folder.of(settings)
        admission = Admission(folder, rules, store, records, store.keys, types, clock)
        control = Control(
            store, lambda name: store.keys.uid(settings.source_name, name), records.tell, admission.document, clock
        )
        return asyncio.run(_obeyed(control, store, request))
    finally:
        store.close()
