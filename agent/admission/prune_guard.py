"""The prune guard: stops withdrawals that are too many at once, or that come from a replaced source folder.

The operator approves them with `assure-agent approve`. `sync.py` asks only about names that two scans did not find.
"""

from agent.core.admission import withdrawals_allowed
from agent.ports import AdmissionStore, Clock, MetaKey
from agent.source.folder import FolderIdentity, Scan

_HOUR = 3600.0


class PruneGuard:
    """Keeps the trusted folder and the start of the wait for approval, across restarts."""

    def __init__(self, store: AdmissionStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._root: FolderIdentity | None = None  # the last folder that had every request

    async def allows(self, requested: int, scan: Scan, known: int) -> bool:
        """True if this many of the `known` requests may be withdrawn after this scan. It uses up an approval.

        The approval is used up before the withdrawals: after a crash in between, the operator must approve again.
        """
        if await self._approved():
            await self.remember_waiting(False)
            return True
        if not scan.files or self._folder_replaced(scan.root):
            return False
        return withdrawals_allowed(requested, await self._store.withdrawn_since(self._clock.now() - _HOUR), known)

    async def trust(self, root: FolderIdentity | None, everything: bool) -> None:
        """Store the folder that had every request. From another folder, withdrawals need approval."""
        if self._root is None and (kept := await self._store.recall(MetaKey.TRUSTED_ROOT)):
            path, device, inode = kept.rsplit(" ", 2)
            self._root = FolderIdentity(path, int(device), int(inode))
        if root is not None and root != self._root and (everything or self._root is None):
            self._root = root
            await self._store.remember(MetaKey.TRUSTED_ROOT, f"{root.path} {root.device} {root.inode}")

    async def remember_waiting(self, waiting: bool) -> None:
        """Store the time since when withdrawals wait. Only a later approval counts."""
        known = await self._store.recall_time(MetaKey.WITHDRAWALS_WAIT) is not None
        if waiting != known:
            await self._store.remember(MetaKey.WITHDRAWALS_WAIT, self._clock.now() if waiting else None)

    def _folder_replaced(self, root: FolderIdentity | None) -> bool:
        """True if another folder has replaced the trusted one."""
        known = self._root
        return root is not None and known is not None and root.path == known.path and root != known

    async def _approved(self) -> bool:
        """True if the operator approved after the withdrawals began to wait."""
        approved = await self._store.recall_time(MetaKey.APPROVED)
        since = await self._store.recall_time(MetaKey.WITHDRAWALS_WAIT)
        if approved is None or since is None:
            return False
        return approved >= min(since, self._clock.now())  # the clock may have been set back since
