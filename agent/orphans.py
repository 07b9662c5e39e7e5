"""The sweep for possible orphans: dossiers whose creation was never answered, and which may show later [I3].

Only references of our own store are looked for, and a dossier is deleted only after the store says that it will be.
A reference is watched until its dossier is deleted, or has not shown for an hour: no create is still under way then.
"""

from agent.core.answer import Done, Refused
from agent.ports import Clock, Remote, Store

_WATCHED = 3600.0  # seconds


class OrphanSweep:
    """Looks for possible orphans in GET dossiers, and deletes those that show."""

    def __init__(self, store: Store, remote: Remote, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._clock = clock

    async def sweep(self) -> int:
        """Look once; no call when there is nothing to look for. Returns how many were deleted."""
        suspects = self._store.orphans()
        if not suspects:
            return 0
        listed = await self._remote.list_dossiers()
        if not isinstance(listed, Done):
            return 0
        shown = {row.reference: row.dossier_id for row in listed.value if row.reference is not None}
        deleted = 0
        for reference, since, dossier_id in suspects:
            found = dossier_id or shown.get(reference)
            if found is not None:
                deleted += await self._delete(reference, found, known=dossier_id is not None)
            elif self._clock.now() - since > _WATCHED:
                await self._store.close_orphan(reference, self._clock.now(), None)
        return deleted

    async def _delete(self, reference: str, dossier_id: str, known: bool) -> int:
        if not known:
            await self._store.found_orphan(reference, dossier_id)
        answer = await self._remote.delete_dossier(dossier_id)
        gone = isinstance(answer, Done) or (isinstance(answer, Refused) and answer.missing)
        confirmed = await self._remote.read_dossier(dossier_id) if gone else answer
        if not (isinstance(confirmed, Refused) and confirmed.missing):
            return 0  # the next sweep tries again: the store knows its id
        await self._store.close_orphan(reference, self._clock.now(), dossier_id)
        return 1
