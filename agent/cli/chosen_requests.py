"""The requests that a command acts on: named ones, or those of a selection."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from agent.cli.agent_client import send_command
from agent.cli.output import print_error
from agent.cli.selectors import Selection
from agent.cli.state_file import require_store
from agent.core.errors import AgentError, WrongUse
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.nearest_names import unknown_request

AllOption = Annotated[bool, typer.Option("--all", help="All requests, or all that match the other options.")]


def selected(
    settings: Settings, names: Sequence[str], everything: bool, selection: Selection, eligible: Callable[[Record], bool]
) -> list[Record] | None:
    """The eligible requests of the selection; None if requests are named. Raises WrongUse for both or neither."""
    by_selection = everything or bool(selection)
    if names and by_selection:
        raise WrongUse("Names of requests and a selection exclude each other.", "leave one of them out")
    if not names and not by_selection:
        raise WrongUse("No requests are named or selected.", "name them, or use --all or -l key=value")
    if names:
        return None
    require_store(settings)
    with open_reading(settings) as reading:
        return [record for record in reading.all() if selection.matches(record) and eligible(record)]


def named(settings: Settings, names: Sequence[str]) -> list[Record]:
    """The requests of these names, of every source. Raises UnknownRequest before anything is sent."""
    require_store(settings)
    records: list[Record] = []
    with open_reading(settings) as reading:
        for name in names:
            if not (found := reading.find(name)):
                raise unknown_request(settings, name)
            records += found
    return records


def send_each(settings: Settings, verb: str, commands: Sequence[dict[str, Any]]) -> None:
    """Send one command for each request, and print the answers. Raises Exit with code 1 if the agent refuses one.

    A refused command does not stop the following ones.
    """
    refused = False
    for command in commands:
        try:
            typer.echo(send_command(settings, verb, **command))
        except AgentError as error:
            refused = True
            print_error(error)
    if refused:
        raise typer.Exit(1)
