"""The report of a proof: its seed, a table, and the violations."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

_INTERVAL = 20.0  # seconds between lines that are not overwritten
_printed_at = monotonic()


@dataclass(slots=True)
class Report:
    """The report that is printed at the end. The proof holds when `wrong` is empty."""

    title: str
    seed: int | str
    rows: list[tuple[str, ...]] = field(default_factory=list)  # the first is the head
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return 1 if self.wrong else 0

    def __str__(self) -> str:
        lines = [f"{self.title}; seed {self.seed}", *table(self.rows), *self.notes]
        lines += [f"WRONG: {one}" for one in self.wrong] or ["no violations"]
        return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column to the left and the others to the right."""
    if not rows:
        return []
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return [lines[0], "  " + "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def progress(text: str) -> None:
    """Print a line, which the next one overwrites on a terminal. Elsewhere most lines are left out."""
    global _printed_at
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif monotonic() - _printed_at >= _INTERVAL:
        _printed_at = monotonic()
        print(text, file=sys.stderr, flush=True)
