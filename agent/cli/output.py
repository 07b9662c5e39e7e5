"""The output of commands: errors with a remedy, tables for people, JSON for programs."""

import contextlib
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import orjson

from agent.core.errors import AgentError


class Format(StrEnum):
    """An output format: a table for people, or JSON for programs."""

    TABLE = "table"
    JSON = "json"


def print_error(error: AgentError) -> None:
    """Print one line on stderr. If stderr cannot be written, only the exit code reports the error."""
    hint = f" Try: {error.hint}." if error.hint else ""
    with contextlib.suppress(OSError, ValueError):
        print(f"assure-agent: {error}{hint}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout, indented on a terminal."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.buffer.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, with its header."""
    table = Table(columns, rows)
    table.print_header()
    table.print_rows(rows)


class Table:
    """Prints rows on stdout, the same on a terminal and in a pipe; a terminal adds colours.

    No cell is cut or wrapped, so that names, ids and times can be copied.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """`rows` set the widths of the columns. A longer cell of a later row moves the rest of its row."""
        self._titles = [column.upper() for column in columns]
        self._widths = [max(len(row[n]) for row in [self._titles, *rows]) for n in range(len(columns))]

    def print_header(self) -> None:
        """Print the titles of the columns."""
        self._print([self._titles], header=True)

    def print_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Print these rows."""
        self._print(rows)

    def _print(self, rows: Sequence[Sequence[str]], header: bool = False) -> None:
        lines = [[cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)] for row in rows]
        if not sys.stdout.isatty():
            for line in lines:
                print("  ".join(line).rstrip())
            return
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        for line in lines:
            styles = ["bold" if header else _STYLES.get(cell.rstrip(), "") for cell in line]
            cells = Text("  ").join(Text(cell, style=style) for cell, style in zip(line, styles, strict=True))
            cells.rstrip()
            console.print(cells, soft_wrap=True)


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
