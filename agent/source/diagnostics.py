"""What is wrong with a file, where, and what to do about it. Never a value of the file that could be personal [I6]."""

from collections.abc import Sequence
from dataclasses import dataclass

README = "find the field in docs/reference/request-file.md"

_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong. `line` and `column` count from 1; `hint` stands after `Try: `. All of it is JSON-safe."""

    file: str  # relative to the source folder, as `shown` shows it
    line: int = 1
    column: int = 1
    message: str  # what was expected
    hint: str  # what to do, an imperative
    name: str | None = None  # metadata.name of the document, when it could be read

    def __str__(self) -> str:
        return format_location(self.file, self.line, self.column, self.message)


SOURCE_FOLDER = "."  # the `file` of a fault about the source folder itself


def format_location(file: str, line: int, column: int, message: str) -> str:
    """`FILE:LINE:COLUMN: message`; the message alone where it is about the source folder itself."""
    return message if file == SOURCE_FOLDER else f"{file}:{line}:{column}: {message}"


def printable_path(path: str) -> str:
    """A path that is fit to be printed: UTF-8, no control characters, forward slashes as they are."""
    if path.isprintable():
        return path
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def dotted(path: Sequence[str | int]) -> str:
    """`spec.upload.images.front` for people; each name is cut at 40 characters."""
    return ".".join(printable_path(str(step)[:_LONGEST_NAME]) for step in path)
