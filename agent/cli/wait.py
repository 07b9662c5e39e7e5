"""`assure-agent wait`: wait until one request or all requests are settled."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated

import typer

from agent.cli.options import StateUrlOption, duration_option
from agent.cli.request_names import complete_request_name
from agent.cli.state_file import store_settings
from agent.core.errors import StoreAway
from agent.platform.settings import Settings
from agent.store import open_reading, store_exists
from agent.store.nearest_names import unknown_request
from agent.store.reading.reading import Reading

_POLL_SECONDS = 0.5  # seconds between two reads of the store


class Until(StrEnum):
    """The condition to wait for."""

    SETTLED = "settled"  # done, held, suspended, in retention, or waiting for the start budget


def wait(
    name: Annotated[
        str | None, typer.Argument(help="Name of one request.", autocompletion=complete_request_name)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Wait for all requests.")] = False,
    until: Annotated[Until, typer.Option("--for", help="Condition to wait for: settled.")] = Until.SETTLED,
    timeout: Annotated[str, typer.Option("--timeout", help="Maximum time to wait.")] = "10m",
    state_url: StateUrlOption = None,
) -> None:
    """Wait until one request or all requests are settled.

    Settled is done, held, suspended, in retention, or waiting for the start budget. The command only reads the store.
    An agent must be running to settle the request.

    Exit codes: 0 settled, 1 unknown request, 3 a request is held, 4 not settled at the timeout. If several apply, the
    first of 1, 3, 4.

    Example: assure-agent wait customer-4711 --for settled --timeout 30m
    """
    if (name is None) is not every:
        raise typer.BadParameter("expected either NAME or --all.")
    patience = duration_option("--timeout", timeout)
    settings = store_settings(state_url)
    if not store_exists(settings):
        if name is not None:
            raise unknown_request(settings, name)
        typer.echo("No requests yet.")
        return
    total, moving, held = _watch(settings, name, patience)
    counts = f"{total - moving} of {total} settled, {held} held"
    typer.echo(f"{counts}. Try: assure-agent explain {name or 'NAME'}" if moving or held else f"{counts}.")
    if code := 3 if held else 4 if moving else 0:
        raise typer.Exit(code)


def _watch(settings: Settings, name: str | None, patience: float) -> tuple[int, int, int]:
    """Poll until every request is settled, or `patience` seconds have passed: all, unsettled, held.

    A database may be away meanwhile. Raises StoreAway if it still is at the end.
    """
    end = time.monotonic() + patience
    with open_reading(settings) as reading, _bar() as show:
        while True:
            left = end - time.monotonic()
            try:
                counts = _counts(settings, reading, name)
            except StoreAway:
                if left <= 0:
                    raise
            else:
                show(counts[0] - counts[1], counts[0])
                if not counts[1] or left <= 0:
                    return counts
            time.sleep(min(_POLL_SECONDS, left))


def _counts(settings: Settings, reading: Reading, name: str | None) -> tuple[int, int, int]:
    if name is None:
        return reading.progress_counts()
    records = reading.find(name)
    if not records:
        refused = reading.refused(name)
        reason = f": the agent refused its file ({refused[0].message})" if refused else ""
        raise unknown_request(settings, name, reason)
    return (
        len(records),
        sum(record.progressing for record in records),
        sum(record.hold is not None for record in records),
    )


ShowProgress = Callable[[int, int], None]  # receives the number of settled requests, and of all


@contextlib.contextmanager
def _bar() -> Iterator[ShowProgress]:
    """A progress bar on a terminal; nothing in a pipe."""
    if not sys.stdout.isatty():
        yield lambda settled, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(TextColumn("settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), transient=True)
    task = bar.add_task("settled", total=None)
    with bar:
        yield lambda settled, total: bar.update(task, completed=settled, total=total)
