"""The prune guard: many withdrawals at once, or an empty or swapped folder, need the operator's approval.

A file that is absent from one scan may be back at the next. `sync.py` consults the guard only after two scans.
"""

from agent.core.admission import withdrawals_allowed
from agent.ports import Clock, Store
from agent.source.folder import FolderIdentity, Scan

_TRUSTED = "trusted-root"
_WAITING_SINCE = "withdrawals-wait-since"
_APPROVED = "approved"
_HOUR = 3600.0


class PruneGuard:
    """Remembers, over restarts, which folder is trusted and since when withdrawals wait."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._root: FolderIdentity | None = None  # the folder in which everything was there

    async def allows(self, requested: int, scan: Scan, known: int) -> bool:
        """May this many of the `known` requests be withdrawn, after this scan? An approval is spent by it.

        It is spent before they are withdrawn: a crash between the two asks a person once more, and never too little.
        """
        if self._approved():
            await self.remember_waiting(False)
            return True
        if not scan.files or self._folder_replaced(scan.root):
            return False
        return withdrawals_allowed(requested, self._store.withdrawn_since(self._clock.now() - _HOUR), known)

    async def trust(self, root: FolderIdentity | None, everything: bool) -> None:
        """Remember the folder in which everything was there: another one withdraws nothing by itself."""
        if self._root is None and (kept := self._store.recall(_TRUSTED)):
            path, device, inode = kept.rsplit(" ", 2)
            self._root = FolderIdentity(path, int(device), int(inode))
        if root is not None and root != self._root and (everything or self._root is None):
            self._root = root
            await self._store.remember(_TRUSTED, f"{root.path} {root.device} {root.inode}")

    async def remember_waiting(self, waiting: bool) -> None:
        """Since when withdrawals wait: an approval holds when it was given later."""
        known = bool(self._store.recall(_WAITING_SINCE))
        if waiting != known:
            await self._store.remember(_WAITING_SINCE, str(self._clock.now()) if waiting else "")

    def _folder_replaced(self, root: FolderIdentity | None) -> bool:
        """Another folder stands where the trusted one was."""
        known = self._root
        return root is not None and known is not None and root.path == known.path and root != known

    def _approved(self) -> bool:
        """An approval covers the withdrawals that were waiting when the operator gave it."""
        approved, since = self._store.recall(_APPROVED), self._store.recall(_WAITING_SINCE)
        waits_since = min(float(since or 0), self._clock.now())  # before the clock was set back, perhaps
        return bool(approved and since) and float(approved or 0) >= waits_since
