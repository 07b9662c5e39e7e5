"""The output of `run` for people: addresses and paths, a line for each outcome, and the table at the end."""

import sys
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from agent.cli.get import sentence
from agent.cli.output import print_table
from agent.cli.request_table import COLUMNS, rows
from agent.cli.state_file import state_option
from agent.core.record import Record
from agent.core.step import Step
from agent.platform.callbacks import isolated
from agent.platform.settings import Settings
from agent.store import open_reading

_MAX_LINES = 50  # lines and table rows: more would not be read


class Progress:
    """Prints committed steps: plain lines, and a progress bar on a terminal."""

    def __init__(self, settings: Settings, running: bool, sandbox: bool, interactive: bool) -> None:
        """`running`: the agent continues after every request is settled, so the table is printed at that time.

        With `sandbox` and without `interactive`, the sandbox simulates the end users.
        """
        kind, place = settings.store_place
        place = place if settings.uses_database else str(settings.state_path.absolute())
        self._locations = f"requests: {_place(settings)}\n{kind}: {place}"
        self._settings = settings
        self._sandbox, self._users_simulated = sandbox, sandbox and not interactive
        self._running = running
        self._lines = 0
        self._bar = _bar() if sys.stdout.isatty() else None
        self._table_printed = False
        self._known: set[str] = set()  # uids of all steps so far
        self._progressing: set[str] = set()  # uids of unsettled requests

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @isolated
    def listening(self, url: str, page_link: str | None, events_url: str | None) -> None:
        """Print the addresses of the HTTP service. `page_link` opens the status page once. None: print no link."""
        self._print(f"metrics: {url}/metrics\n{status_page(page_link, state_option(self._settings))}")
        if self._settings.source_hook_secret.get_secret_value():
            self._print(f"hooks of the git server: {events_url}/hooks/source")
        self._print(self._locations)
        with open_reading(self._settings) as reading:
            records = list(reading.all())
        if records and not any(record.progressing for record in records):
            self._report_settled()  # an earlier run settled every request
            if self._sandbox:
                again = "run assure-agent sandbox reset"
                if self._settings.uses_database:
                    again = "use an empty database and another STATE_DIR"
                self._print(f"To repeat the demo: stop the agent, and {again}")

    @isolated
    def stepped(self, step: Step) -> None:
        """Print a committed step."""
        before, record = step.before, step.record
        if step.link is not None:
            see = f"see it with assure-agent get {record.name} --link{state_option(self._settings)}"
            what_next = "a simulated end user completes the flow now" if self._users_simulated else see
            self._line(f"{record.name}: capture link ready, {what_next}")
        if record.outcome is not None and (before is None or before.outcome is not record.outcome):
            self._line(f"{record.name}: {record.outcome}")
        if step.held is not None:
            self._line(f"{record.name}: held, {step.held.reason}")
        self._known.add(record.uid)
        self._progressing.discard(record.uid)
        if record.progressing:
            self._progressing.add(record.uid)
        self._table_printed = False
        if self._bar is not None:
            self._bar.start()
            self._bar.update(_TASK, completed=len(self._known) - len(self._progressing), total=len(self._known))
        if not self._progressing:
            self._report_settled()

    def _report_settled(self) -> None:
        if self._running:
            self.print_outcomes()
            self._print("All requests are settled. Add, change or remove files, or press Ctrl-C to end.")

    @isolated
    def print_outcomes(self) -> None:
        """Print the table of outcomes, unless nothing changed since it was printed."""
        if self._table_printed:
            return
        self._table_printed = True
        if self._bar is not None:
            self._bar.stop()
        with open_reading(self._settings) as reading:
            records: list[Record] = list(reading.all())
            refusals = reading.refusals()
        if len(records) <= _MAX_LINES:
            print_table(COLUMNS, rows(records))
        else:
            self._summarize(records)
        for refusal in refusals[:_MAX_LINES]:
            print(f"refused: {sentence(refusal)}")

    def _summarize(self, records: list[Record]) -> None:
        counts: dict[tuple[str, str], int] = {}
        for record in records:
            key = (record.state, record.outcome.value if record.outcome else "-")
            counts[key] = counts.get(key, 0) + 1
        print_table(("state", "outcome", "requests"), [[*key, str(count)] for key, count in sorted(counts.items())])

    def _line(self, text: str) -> None:
        self._lines += 1
        if self._lines <= _MAX_LINES:
            self._print(text)
        elif self._lines == _MAX_LINES + 1:
            self._print(f"... and more; see them with assure-agent get{state_option(self._settings)}")

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)


def _place(settings: Settings) -> str:
    """The folder of the request files, or the repository."""
    if not settings.source_url:
        return str(settings.specs_dir.absolute())
    folder = f", folder {settings.source_path}" if settings.source_path else ""
    return f"{settings.source_url}, branch {settings.source_branch}{folder}"


def status_page(link: str | None, option: str) -> str:
    """The line about the status page. `option` is the `--state-url` option that `assure-agent page` needs, or empty."""
    if link is None:
        return f"status page: print a link to it with assure-agent page{option}"
    return (
        f"status page: {link}\n(this link works once, within 10 minutes. For a new link, run assure-agent page{option})"
    )


_TASK = TaskID(0)


def _bar() -> Bar:
    bar = Bar(TextColumn("settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar.add_task("settled", total=None)
    return bar
