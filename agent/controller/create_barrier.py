"""The barrier before new dossiers: an unknown creation is looked for before others push it out of the list [I3].

GET dossiers shows the last 100 that are not deleted (contract §4). While a creation is in doubt and was not looked for
since it had to show, no dossier is created; those under way already are at most as many as are driven at once. Many
doubts share one list. A doubt that cannot be settled holds the others for a minute, and not for ever [I9].
"""

from collections.abc import Iterable
from dataclasses import replace

from agent.core.effect import EffectKind
from agent.core.next_effect import barring
from agent.core.policy import Policy
from agent.core.record import Record

_LONGEST = 60.0  # seconds that one doubt holds up new dossiers, while calls can be made


class Barrier:
    """Which records hold up new dossiers, and since when. Time comes in as a value, in seconds since the epoch."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._since: dict[str, float] = {}

    def begin(self, records: Iterable[Record], now: float) -> None:
        """What an earlier run left: open intents are about to become doubts, and its graces begin anew."""
        self._policy = replace(self._policy, began=now)
        for record in records:
            left = record.intent is not None and record.intent.kind is EffectKind.CREATE_DOSSIER
            if left or barring(record, self._policy):
                self._since[record.uid] = now

    def saw(self, record: Record, now: float) -> None:
        """A record as it is now."""
        if barring(record, self._policy):
            self._since.setdefault(record.uid, now)
        elif self._since:
            self._since.pop(record.uid, None)

    def again(self, now: float) -> None:
        """Nothing could be asked until now: patience begins anew."""
        self._since = dict.fromkeys(self._since, now)

    def up(self, now: float) -> bool:
        """True while no dossier may be created."""
        return bool(self._since) and any(since <= now < since + _LONGEST for since in self._since.values())

    def falls_at(self, now: float) -> float | None:
        """When patience ends at the latest; None: it is not up."""
        return max((since + _LONGEST for since in self._since.values()), default=now) if self.up(now) else None
