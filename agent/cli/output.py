"""How the commands speak: errors that end in `Try:`, tables for people, JSON for programs."""

import contextlib
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import orjson

from agent.clock import written
from agent.core.errors import AgentError


class Format(StrEnum):
    """How to print: a table for people, or JSON."""

    TABLE = "table"
    JSON = "json"


def complain(error: AgentError) -> None:
    """One clear line on stderr; where that cannot be written, the exit code has to do."""
    hint = f" Try: {error.hint}." if error.hint else ""
    with contextlib.suppress(OSError, ValueError):
        print(f"assure-agent: {error}{hint}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """JSON on stdout, indented on a terminal."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.buffer.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn on a terminal, plain and aligned in a pipe."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")  # ids, times and digests are worth nothing when they are cut
        for row in rows:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[n]) for row in [columns, *rows]) for n in range(len(columns))]
    for row in [[column.upper() for column in columns], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_STYLES = {
    "accepted": "green",
    "rejected": "red",
    "failed": "red",
    "lost": "red",
    "expired": "yellow",
    "inconclusive": "yellow",
    "canceled": "yellow",
    "held": "bold magenta",
}


def moment(at: float | None) -> str | None:
    """A time as `YYYY-MM-DDThh:mm:ss.sssZ`."""
    return None if at is None else written(at)
