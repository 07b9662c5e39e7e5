"""Delete possible orphans: dossiers of unanswered create calls that may still appear [I3].

The collector searches only for references in the agent's store, and deletes a dossier only after the store recorded
it. One list serves all references.

No one else ever had the id of such a dossier, so it is empty and GET processes cannot show it. GET dossiers lists the
newest 100 only. A dossier outside the list appears again as newer ones are deleted. The operator may find it at Assure
and let a request adopt it. Then that request deletes it.

The collector watches a reference

- until its dossier is deleted,
- until a complete list (shorter than 100) lacks it, an hour or more after the create call,
- or for 30 days, when Assure has deleted the dossier itself (contract §12).

After an hour no call is in progress and no read lags. The interval grows from one minute to one hour after a day.
"""

import math

from agent.core.answer import Done, Refused
from agent.ports import Clock, Orphans, Remote

_ABSENCE_SECONDS = 3600.0  # seconds after which a complete list proves absence
_ASSURE_RETENTION = 30 * 86400.0
_BACKOFF_DIVISOR = 24.0  # a reference is searched again after this part of its age


class OrphanCollector:
    """Searches GET dossiers for possible orphans and deletes them."""

    def __init__(self, store: Orphans, remote: Remote, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._clock = clock
        self._listed_at = -math.inf

    async def sweep(self, at_once: bool = False) -> int:
        """Search once. Makes no call when no reference is due. Returns the number of deleted dossiers."""
        if not self._clock.confirmed:
            return 0
        suspects = await self._suspects()
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

    async def _suspects(self) -> list[tuple[str, float, str | None]]:
        """The open orphans, without dossiers that a request owns."""
        suspects = await self._store.orphans()
        owners = await self._store.owners([known for _, _, known in suspects if known is not None])
        return [suspect for suspect in suspects if suspect[2] not in owners]

    def _due(self, since: float, now: float) -> bool:
        """True when a search is due. After the clock was set back, every reference is due."""
        return not 0 <= now - self._listed_at < (now - since) / _BACKOFF_DIVISOR

    async def _delete(self, reference: str, dossier_id: str, known: bool) -> int:
        if not known:
            await self._store.found_orphan(reference, dossier_id)
        if await self._store.owners([dossier_id]):
            return 0
        answer = await self._remote.delete_dossier(dossier_id, expect_missing=True)
        gone = isinstance(answer, Done) or (isinstance(answer, Refused) and answer.missing)
        confirmed = await self._remote.read_dossier(dossier_id, expect_missing=True) if gone else answer
        if not (isinstance(confirmed, Refused) and confirmed.missing):
            return 0  # the next sweep tries again, because the store has the id
        await self._store.close_orphan(reference, self._clock.now(), dossier_id)
        return 1
