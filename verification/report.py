"""What a proof says: its seed, a table, and what it found wrong."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Printed at the end. `wrong` empty: the proof holds."""

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
        lines += [f"WRONG: {one}" for one in self.wrong] or ["nothing wrong"]
        return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left and the others to the right."""
    if not rows:
        return []
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return [lines[0], "  " + "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def progress(text: str) -> None:
    """A line that the next one overwrites, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
