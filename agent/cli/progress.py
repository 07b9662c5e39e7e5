"""What a person sees while the agent works: where to look, a line for each outcome, and the table at the end."""

import sys
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from agent.cli.get import COLUMNS, rows
from agent.cli.output import print_table
from agent.core.machine import Step
from agent.core.record import Record
from agent.store.reading import Reading

_FEW = 50  # lines and table rows that a person still reads


class Progress:
    """Follows the steps. On a terminal there is a bar as well; in a pipe plain lines."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._lines = 0
        self._bar = _bar() if sys.stdout.isatty() else None
        self._known: dict[str, bool] = {}  # uid -> settled

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def listening(self, url: str) -> None:
        """The HTTP surface is up."""
        self._say(f"metrics: {url}/metrics")

    def stepped(self, step: Step) -> None:
        """A step was committed."""
        before, record = step.before, step.record
        if step.link is not None:
            self._line(f"{record.name}: capture link ready, see it with: assure-agent get {record.name} --link")
        if record.outcome is not None and (before is None or before.outcome is not record.outcome):
            self._line(f"{record.name}: {record.outcome}")
        if record.hold is not None and (before is None or before.hold != record.hold):
            self._line(f"{record.name}: held, {record.hold.reason}")
        self._known[record.uid] = not record.moving
        if self._bar is not None:
            self._bar.update(_TASK, completed=sum(self._known.values()), total=len(self._known))

    def conclude(self) -> None:
        """Print the table of outcomes."""
        with Reading(self._state) as reading:
            records: list[Record] = list(reading.all())
            refusals = reading.refusals()
        if len(records) <= _FEW:
            print_table(COLUMNS, rows(records))
        else:
            self._summarize(records)
        for refusal in refusals[:_FEW]:
            where = f"{refusal.file}:{refusal.line}:{refusal.column}"
            print(f"refused: {where}: {refusal.message}. Try: {refusal.hint}.")

    def _summarize(self, records: list[Record]) -> None:
        counts: dict[tuple[str, str], int] = {}
        for record in records:
            key = (record.state, record.outcome.value if record.outcome else "-")
            counts[key] = counts.get(key, 0) + 1
        print_table(("state", "outcome", "requests"), [[*key, str(count)] for key, count in sorted(counts.items())])

    def _line(self, text: str) -> None:
        self._lines += 1
        if self._lines <= _FEW:
            self._say(text)
        elif self._lines == _FEW + 1:
            self._say("... and more; see them with: assure-agent get")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)


_TASK = TaskID(0)


def _bar() -> Bar:
    bar = Bar(TextColumn("settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar.add_task("settled", total=None)
    return bar
