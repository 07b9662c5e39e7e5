"""`assure-agent wait`: until a request, or all of them, are settled."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.state_file import store_settings
from agent.core.duration import parse_duration
from agent.core.errors import AgentError
from agent.store.readonly import ReadOnlyStore

_POLL_SECONDS = 0.5  # seconds between two looks at the store


class Until(StrEnum):
    """What to wait for."""

    SETTLED = "settled"  # nothing goes on by itself: done, held, suspended, in retention, or waiting for the budget


def wait(
    name: Annotated[str | None, typer.Argument(help="The name of one request.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Wait for all requests instead.")] = False,
    until: Annotated[Until, typer.Option("--for", help="What to wait for: settled.")] = Until.SETTLED,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait.")] = "10m",
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Wait until a request is settled: done, held for a person, suspended, in retention, or waiting for the budget.

    Reads the store only: an agent has to run for anything to happen. Exit codes: 0 settled, 1 no such request,
    3 something is held, 4 still waiting at the timeout; the first that applies of 1, 3, 4.

    Example: assure-agent wait customer-4711 --for settled --timeout 30m
    """
    if (name is None) is not every:
        raise typer.BadParameter("expected either NAME or --all.")
    try:
        patience = parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(f"--timeout: {error}") from None
    path = store_settings(state).state_path
    if not path.exists():
        if name is not None:
            raise _unknown(name)
        typer.echo("No requests yet.")
        return
    total, moving, held = _watch(path, name, patience)
    counts = f"{total - moving} of {total} settled, {held} held"
    typer.echo(f"{counts}. Try: assure-agent explain {name or 'NAME'}" if moving or held else f"{counts}.")
    if code := 3 if held else 4 if moving else 0:
        raise typer.Exit(code)


def _watch(path: Path, name: str | None, patience: float) -> tuple[int, int, int]:
    """Look until nothing moves or patience ends: all, moving, held."""
    end = time.monotonic() + patience
    with ReadOnlyStore(path) as reading, _bar() as show:
        while True:
            counts = _counts(reading, name)
            show(counts[0] - counts[1], counts[0])
            left = end - time.monotonic()
            if not counts[1] or left <= 0:
                return counts
            time.sleep(min(_POLL_SECONDS, left))


def _counts(reading: ReadOnlyStore, name: str | None) -> tuple[int, int, int]:
    if name is None:
        return reading.progress_counts()
    records = reading.find(name)
    if not records:
        refused = reading.refused(name)
        raise _unknown(name, f": it was refused ({refused[0].message})" if refused else "")
    return (
        len(records),
        sum(record.progressing for record in records),
        sum(record.hold is not None for record in records),
    )


def _unknown(name: str, why: str = "") -> AgentError:
    return AgentError(f"There is no request named {name}{why}.", "see all of them with `assure-agent get`")


ShowProgress = Callable[[int, int], None]  # receives how many are settled, and of how many


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
