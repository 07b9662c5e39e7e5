"""The progress of a copy: a bar on a terminal, and nothing elsewhere."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class CopyProgress:
    """Shows the step and how many of its rows are finished, on stderr."""

    def __init__(self, quiet: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        shown = sys.stderr.isatty() and not quiet
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown)
        self._task: TaskID | None = None

    def __enter__(self) -> "CopyProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, step: str, rows: int) -> None:
        """The next step, with this number of rows."""
        self._task = self._bar.add_task(step, total=rows)

    def advance(self, rows: int) -> None:
        """So many rows more are finished."""
        assert self._task is not None
        self._bar.advance(self._task, rows)
