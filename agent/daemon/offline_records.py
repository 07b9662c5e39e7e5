"""Records that a command changes without an agent in its process. The dry run uses it as well."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from agent.core.errors import Moved
from agent.core.machine import admit, step
from agent.core.observations import Observation, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.ports import Clock, Records

_TRIES, _PAUSE = 60, 0.5  # tries to take a request over, and seconds between two of them


async def sole(_: str) -> bool:
    """True: no agent runs on the store."""
    return True


class OfflineRecords:
    """Implements `agent.ports.RecordPort` on a store alone: observations are applied at once, and no call is made."""

    def __init__(
        self, store: Records, clock: Clock, policy: Policy, take_over: Callable[[str], Awaitable[bool]] = sole
    ) -> None:
        """`take_over` gets a uid whose call was not answered. False: another process waits for the answer."""
        self._store = store
        self._take_over = take_over
        self._clock = clock
        self._policy = policy

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests."""
        await self._store.commit([admit(record, self._clock.now(), self._policy) for record in records])

    async def deliver(self, observations: Mapping[str, Observation]) -> Collection[str]:
        """Apply each. An intent that an ended agent left open counts as unanswered. Waits for calls in progress.

        Returns the uids of records that changed in the store meanwhile.
        """
        return [uid for uid, observation in observations.items() if not await self._applied(uid, observation)]

    async def _applied(self, uid: str, observation: Observation) -> bool:
        """True if the observation is applied, or there is no such record."""
        for _ in range(_TRIES):
            record = (await self._store.get_many([uid])).get(uid)
            if record is None:
                return True
            try:
                if record.intent is None or await self._take_over(uid):
                    await self._apply(record, observation)
                    return True
            except Moved:
                if self._take_over is sole:
                    return False
            await asyncio.sleep(_PAUSE)
        return False

    async def _apply(self, record: Record, observation: Observation) -> None:
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
