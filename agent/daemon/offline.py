"""Commands while no agent is running: the command takes the lock and changes records in the store."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.admission import Admission, AdmissionRules
from agent.assure.document_type_cache import DocumentTypeCache, OfflineDocumentTypes
from agent.core.errors import AgentError
from agent.core.machine import admit, step
from agent.core.observations import Observation, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.daemon.commands import CommandHandler
from agent.daemon.peer_credentials import own_account
from agent.platform.clock import ANCHOR, Anchor, SystemClock
from agent.platform.settings import Settings
from agent.ports import Store
from agent.source.folder import Folder
from agent.store.sqlite import SqliteStore


class OfflineRecords:
    """Records without a reconciler: an observation is committed at once, and no effect is requested."""

    def __init__(self, store: Store, clock: SystemClock, policy: Policy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests."""
        await self._store.commit([admit(record, self._clock.now(), self._policy) for record in records])

    async def deliver(self, observations: Mapping[str, Observation]) -> None:
        """Commit each observation. An intent that an earlier agent left open counts as unanswered."""
        for uid, observation in observations.items():
            record = self._store.get(uid)
            if record is None:
                continue
            if record.intent is not None:
                resumed = step(record, Resumed(at=self._clock.now()), self._policy, request_effect=False)
                await self._store.commit([resumed])
                record = resumed.record
            taken = step(record, observation, self._policy, request_effect=False)
            if taken.changed:
                await self._store.commit([taken])

    def retract(self, uid: str, observation: Observation) -> bool:
        """Never: `deliver` has committed the observation."""
        return False


async def _execute(control: CommandHandler, store: SqliteStore, request: Mapping[str, Any]) -> dict[str, Any]:
    answer = await control.execute(request, own_account())
    with contextlib.suppress(AgentError):  # the command is executed; the next agent truncates the log
        await store.tidy()
    return answer


def execute_offline(settings: Settings, request: Mapping[str, Any]) -> dict[str, Any]:
    """Execute one command on a store without a running agent. Raises StoreLocked if an agent has the lock."""
    store = SqliteStore(settings.state_path, None, claims_key=settings.claims_key.get_secret_value())
    try:
        clock = SystemClock()
        clock.resume(store.last_event_at(), Anchor.read(store.recall(ANCHOR)))
        recovering = store.recoveries.open() is not None
        policy = replace(settings.policy, recovering=recovering, clock_unconfirmed=not clock.confirmed)
        records = OfflineRecords(store, clock, policy)
        rules = AdmissionRules.of(settings, store.keys.agent_id())
        types = DocumentTypeCache(OfflineDocumentTypes(), store, clock)
        folder = Folder.of(settings)
        admission = Admission(folder, rules, store, records, store.keys, types, clock)
        control = CommandHandler(store, records, admission, clock, settings.source_name)
        return asyncio.run(_execute(control, store, request))
    finally:
        store.close()
