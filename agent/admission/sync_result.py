"""The result of one scan of the source."""

from dataclasses import dataclass

from agent.core.admission import ScanNote, ScanNoteKind
from agent.source.diagnostics import Fault
from agent.source.folder import Scan


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """The result of one sync."""

    scan: Scan
    refusals: tuple[Fault, ...]  # faults of the scan, and those that admission found
    waiting: int  # withdrawals that wait for an operator's approval
    absent: int  # names that were absent for the first time; the next scan decides about them
    scan_notes: frozenset[ScanNote] = frozenset()

    @property
    def stopped(self) -> frozenset[str]:
        """Uids of the requests whose withdrawal waits for an operator's approval."""
        return frozenset(note.uid for note in self.scan_notes if note.kind is ScanNoteKind.WITHDRAWAL_WAITS)

    @property
    def strays(self) -> frozenset[ScanNote]:
        """Requests whose `assure-agent/resolve` answers no open hold."""
        return frozenset(note for note in self.scan_notes if note.kind is ScanNoteKind.STRAY_ANSWER)
