"""The recovery of a store that was lost, is an older copy, or was restored from a backup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A recovery since `at`. `cause`: lost, older (an older copy), restored (from a backup)."""

    at: float
    cause: str
    scanned_at: float | None = None  # when the agent read Assure's lists
    approved_at: float | None = None  # when the operator approved new work

    @property
    def holds_new_work(self) -> bool:
        """True while the agent may begin no work."""
        from agent.core.retry import holds_new_work

        return holds_new_work(self.cause)


class Recoveries(Protocol):
    """The recoveries of a store."""

    fresh: bool  # this process created the store, so it has no past

    async def open(self) -> Recovery | None:
        """The recovery in progress."""

    async def possibly_stale(self) -> list[str]:
        """The uids of all requests that are not done: any of them may be older than the state at Assure."""

    async def held_history_lost(self, unsearched: bool = False) -> list[str]:
        """The uids of requests with the hold `history-lost`. `unsearched`: only those not yet searched at Assure."""

    async def record_search(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Record that the agent read Assure's lists. `unclaimed`: dossiers without a request, by id and reference."""

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """Record an empty dossier of an earlier attempt as an orphan. The agent deletes it."""

    async def last_scan_at(self) -> float | None:
        """When the agent last read the lists in an earlier recovery. It has settled the dossiers of before."""

    async def previously_unclaimed(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that an earlier recovery found and left unchanged."""

    async def begin(self, at: float) -> None:
        """Begin a recovery, with the cause `older`: the store turned out to be stale while in use."""

    async def approve(self, at: float) -> None:
        """Record the operator's approval."""

    async def close(self, at: float) -> None:
        """End the recovery."""
