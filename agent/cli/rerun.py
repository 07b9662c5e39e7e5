"""`assure-agent rerun`: verify requests again."""

from typing import Annotated

import typer

from agent.cli.chosen_requests import AllOption, named, selected, send_each
from agent.cli.confirmation import DryRunOption, YesOption, confirm
from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name
from agent.cli.selectors import OutcomeOption, PhaseOption, ReasonOption, Selection, SelectorOption, StateOption
from agent.cli.state_file import store_settings
from agent.core.record import Record
from agent.views.phrases import count_of

_NO_FILE = "its file does not exist, so it would be refused"


def rerun(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names of requests.", autocompletion=complete_request_name),
    ] = None,
    everything: AllOption = False,
    selector: SelectorOption = None,
    phase: PhaseOption = None,
    state: StateOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    state_url: StateUrlOption = None,
) -> None:
    """Verify requests again, with their current files and images.

    Assure bills each verification again. The command asks before it acts. A selection contains only requests whose
    files exist.

    Exit codes: 0 the agent accepted each rerun, 1 unknown request, refused file, or not confirmed, 2 wrong use, or no
    terminal to ask on.

    Example: assure-agent rerun --outcome inconclusive -l team=onboarding --dry-run
    """
    settings = store_settings(state_url)
    selection = Selection.parse(selector, phase, state, outcome, reason)
    records = selected(settings, names or [], everything, selection, _has_file)
    commands = [{"name": name} for name in dict.fromkeys(names or [])]
    if records is not None:
        commands = [{"name": record.name, "uid": record.uid} for record in records]
    if not commands:
        typer.echo("No request matches.", err=True)
        return
    if dry_run:
        for record in named(settings, names) if names else records or []:
            typer.echo(f"{record.name}: {'would be verified again, and billed' if record.present else _NO_FILE}")
        return
    confirm(f"Verify {count_of(len(commands), 'request')} again? Assure bills each start.", yes)
    send_each(settings, "rerun", commands)


def _has_file(record: Record) -> bool:
    return record.present
