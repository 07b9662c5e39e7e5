"""Faults of request files: position, message and hint. They contain no value that could be personal data [I6]."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent import DOCUMENTATION

FIELDS_PAGE = f"correct it; {DOCUMENTATION}/reference/request-file.html describes the field"

_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `line` and `column` count from 1; `hint` is printed after `Try: `. All values are JSON-safe."""

    file: str  # relative to the source folder, as `printable_path` writes it
    line: int = 1
    column: int = 1
    message: str  # the expectation, or the failure
    hint: str  # the remedy, an imperative
    name: str | None = None  # metadata.name of the document, if it could be read

    def __str__(self) -> str:
        return format_location(self.file, self.line, self.column, self.message)


SOURCE_FOLDER = "."  # the `file` of a fault about the source folder itself


def format_location(file: str, line: int, column: int, message: str) -> str:
    """`FILE:LINE:COLUMN: message`; the message alone for a fault of the source folder itself."""
    return message if file == SOURCE_FOLDER else f"{file}:{line}:{column}: {message}"


def printable_path(path: str) -> str:
    """A path that can be printed: UTF-8, without control characters, with forward slashes unchanged."""
    if path.isprintable():
        return path
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def dotted(path: Sequence[str | int]) -> str:
    """A field path as `spec.upload.images.front`; each name is cut at 40 characters."""
    return ".".join(printable_path(str(step)[:_LONGEST_NAME]) for step in path)
