"""How `run --once` ended."""

from dataclasses import dataclass
from typing import Self

from agent.admission import SyncResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceResult:
    """How `run --once` ended."""

    refused: int
    withdrawals: int  # that wait for the operator's approval
    unfinished: bool

    @classmethod
    def after(cls, last: SyncResult | None, *, unfinished: bool) -> Self:
        """The result after this last scan; None if the source was not scanned."""
        refused = {(fault.file, fault.name or fault.line) for fault in last.refusals} if last else set()
        return cls(refused=len(refused), withdrawals=last.waiting if last else 0, unfinished=unfinished)
