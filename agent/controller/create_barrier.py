"""The create barrier: an unanswered create call is resolved before new creates displace its dossier from the list [I3].

GET dossiers lists the newest 100 that are not deleted (contract §4). While a create is in doubt and was not searched
for since it had to appear, no dossier is created. Creates in progress are limited by the concurrency. Several doubts
share one list. A doubt that cannot be resolved blocks other creates for one minute at most [I9].
"""

from collections.abc import Iterable
from dataclasses import replace

from agent.core.effect import EffectKind
from agent.core.next_effect import blocks_creates
from agent.core.policy import Policy
from agent.core.record import Record

_MAX_HOLD_SECONDS = 60.0  # seconds that one doubt blocks new creates while calls are possible


class CreateBarrier:
    """The records that block new creates, and the start of each block. Times are values in seconds since the epoch."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._since: dict[str, float] = {}

    def load(self, records: Iterable[Record], now: float) -> None:
        """Load the doubts of an earlier run. Open intents become doubts, and their delays start again."""
        self._policy = replace(self._policy, started_at=now)
        for record in records:
            if _is_creating(record) or blocks_creates(record, self._policy):
                self._since[record.uid] = now

    def update(self, records: Iterable[Record], now: float) -> bool:
        """Update the blocks of records that changed. Returns True if nothing is blocked any longer."""
        concerned = [one for one in records if self._since or one.doubt is EffectKind.CREATE_DOSSIER]
        if not concerned:
            return False
        before = self.active(now)
        for record in concerned:
            if blocks_creates(record, self._policy):
                self._since.setdefault(record.uid, now)
            else:
                self._since.pop(record.uid, None)
        return before and not self.active(now)

    def follow(self, records: Iterable[Record], now: float) -> bool:
        """Take over the doubts of all replicas. `records` are all that may be without a dossier.

        Returns True if nothing is blocked any longer.
        """
        before, creating = self.active(now), list(records)
        blocking = {one.uid for one in creating if blocks_creates(one, self._policy)}
        open_ones = {one.uid for one in creating if _is_creating(one)}  # of replicas that may have ended
        self._since = {uid: self._since.get(uid, now) for uid in blocking | (open_ones & self._since.keys())}
        return before and not self.active(now)

    def restart(self, now: float) -> None:
        """Start all blocks again, because no call was possible until now."""
        self._since = dict.fromkeys(self._since, now)

    def active(self, now: float) -> bool:
        """True while no dossier may be created."""
        return bool(self._since) and any(since <= now < since + _MAX_HOLD_SECONDS for since in self._since.values())

    def expires_at(self, now: float) -> float | None:
        """When the last block ends; None when the barrier is not active."""
        return (
            max((since + _MAX_HOLD_SECONDS for since in self._since.values()), default=now)
            if self.active(now)
            else None
        )


def _is_creating(record: Record) -> bool:
    return record.intent is not None and record.intent.kind is EffectKind.CREATE_DOSSIER
