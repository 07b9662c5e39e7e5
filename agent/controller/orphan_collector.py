"""The sweep for possible orphans: dossiers whose creation was never answered, and which may show later [I3].

Only references of our own store are looked for, and a dossier is deleted only after the store says that it will be.
One list serves all of them. Nobody else ever had the dossier's id, so that it is an empty shell: GET processes cannot
show it, and GET dossiers shows the last 100 only. Where more are open the shell is out of sight, and comes into sight
again as the newer ones are deleted. A person may find it at Assure all the same, and have a request adopt it: then it
is left to that request, which deletes it. So a reference is watched

- until its dossier is deleted,
- or a list that shows all there is (shorter than 100) lacks it, an hour after its creation was asked for or later: no
  call is under way then, and no read lags so much,
- or for 30 days, when Assure has deleted it as well (contract §12);

ever less often: each minute at first, once an hour after a day.
"""

import math

from agent.core.answer import Done, Refused
from agent.ports import Clock, Orphans, Remote

_ABSENCE_SECONDS = 3600.0  # seconds after which a list of all there is proves absence
_ASSURE_RETENTION = 30 * 86400.0
_BACKOFF_DIVISOR = 24.0  # looks at a reference come after this part of its age


class OrphanCollector:
    """Looks for possible orphans in GET dossiers, and deletes those that show."""

    def __init__(self, store: Orphans, remote: Remote, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._clock = clock
        self._listed_at = -math.inf

    async def sweep(self, at_once: bool = False) -> int:
        """Look once; no call when there is nothing to look for yet. Returns how many were deleted."""
        if not self._clock.confirmed:
            return 0
        suspects = self._suspects()
        now = self._clock.now()
        if not any(at_once or known is not None or self._due(since, now) for _, since, known in suspects):
            return 0
        listed = await self._remote.list_dossiers()
        if not isinstance(listed, Done):
            return 0
        self._listed_at = now
        shown = {row.reference: row.dossier_id for row in listed.value if row.reference is not None}
        deleted = 0
        for reference, since, dossier_id in suspects:
            found = dossier_id or shown.get(reference)
            if found is not None:
                deleted += await self._delete(reference, found, known=dossier_id is not None)
            elif now - since >= (_ABSENCE_SECONDS if listed.value.complete else _ASSURE_RETENTION):
                await self._store.close_orphan(reference, self._clock.now(), None)
        return deleted

    def _suspects(self) -> list[tuple[str, float, str | None]]:
        """Those that are open, but for what a request was found to own: until it lets go of that."""
        suspects = self._store.orphans()
        owners = self._store.owners([known for _, _, known in suspects if known is not None])
        return [suspect for suspect in suspects if suspect[2] not in owners]

    def _due(self, since: float, now: float) -> bool:
        """A clock that went back makes everything due."""
        return not 0 <= now - self._listed_at < (now - since) / _BACKOFF_DIVISOR

    async def _delete(self, reference: str, dossier_id: str, known: bool) -> int:
        if not known:
            await self._store.found_orphan(reference, dossier_id)
        if self._store.owners([dossier_id]):
            return 0
        answer = await self._remote.delete_dossier(dossier_id, expect_missing=True)
        gone = isinstance(answer, Done) or (isinstance(answer, Refused) and answer.missing)
        confirmed = await self._remote.read_dossier(dossier_id, expect_missing=True) if gone else answer
        if not (isinstance(confirmed, Refused) and confirmed.missing):
            return 0  # the next sweep tries again: the store knows its id
        await self._store.close_orphan(reference, self._clock.now(), dossier_id)
        return 1
