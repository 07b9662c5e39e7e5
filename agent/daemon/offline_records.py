"""The records of a process that makes no call: commands and the dry run use it."""

from collections.abc import Collection, Mapping, Sequence

from agent.core.errors import Moved
from agent.core.machine import admit, step
from agent.core.observations import Observation, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.ports import Clock
from agent.ports.store import DrivenRecords


class OfflineRecords:
    """Implements `agent.ports.RecordPort` on a store alone: observations are applied at once, and no call is made."""

    def __init__(self, store: DrivenRecords, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests."""
        await self._store.commit([admit(record, self._clock.now(), self._policy) for record in records])

    async def deliver(self, observations: Mapping[str, Observation]) -> Collection[str]:
        """Apply each. An intent that an ended agent left open counts as unanswered.

        A record whose call is under way in a replica is declined, because only that replica knows the answer.

        Returns the uids of declined records, and of those that changed in the store meanwhile.
        """
        declined = []
        records = await self._store.get_many(list(observations))
        for uid, observation in observations.items():
            try:
                if uid in records:
                    await self._apply(records[uid], observation)
            except Moved:
                declined.append(uid)
        return declined

    async def _apply(self, record: Record, observation: Observation) -> None:
        if record.intent is not None:
            if await self._store.is_driven(record.uid):
                raise Moved(record.uid)
            resumed = step(record, Resumed(at=self._clock.now()), self._policy, request_effect=False)
            await self._store.commit([resumed])
            record = resumed.record
        taken = step(record, observation, self._policy, request_effect=False)
        if taken.changed:
            await self._store.commit([taken])

    def retract(self, uid: str, observation: Observation) -> bool:
        """Never: `deliver` has committed the observation."""
        return False
