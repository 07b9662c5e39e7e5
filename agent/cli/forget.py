"""`assure-agent forget`: erase the data that identifies a request."""

from typing import Annotated

import typer

from agent.cli.agent_client import send_command
from agent.cli.chosen_requests import named
from agent.cli.confirmation import DryRunOption, YesOption, confirm
from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name
from agent.cli.state_file import store_settings
from agent.platform.settings import Settings


def forget(
    name: Annotated[
        str,
        typer.Argument(help="Name of a finished request whose file was removed.", autocompletion=complete_request_name),
    ],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    state_url: StateUrlOption = None,
) -> None:
    """Erase the name, labels, paths and claims of a request.

    Its audit log remains and can still be verified. The command asks before it acts.

    Exit codes: 0 erased, 1 unknown or unfinished request, its file still exists, or not confirmed, 2 no terminal to
    ask on.

    Example: assure-agent forget customer-4711
    """
    settings = store_settings(state_url)
    if dry_run:
        _show_effect(settings, name)
        return
    confirm(f"Erase the name, labels, paths and claims of {name}? This cannot be undone.", yes)
    typer.echo(send_command(settings, "forget", name=name))


def _show_effect(settings: Settings, name: str) -> None:
    """Print what would be erased. Raises UnknownRequest, and AgentError for a request that cannot be forgotten yet."""
    from agent.daemon.commands import refuse_to_forget

    for record in named(settings, [name]):
        refuse_to_forget(record)
        claims = "" if record.claims_until is None else ", claims"
        typer.echo(f"{record.name}: name, labels, paths{claims} would be erased")
