"""`assure-agent events`: show what happened to all requests."""

from typing import Annotated

import typer

from agent.cli.event_log import EventPrinter, requests_named
from agent.cli.options import OutputOption, StateUrlOption, duration_option
from agent.cli.output import Format
from agent.cli.request_names import complete_request_name
from agent.cli.selectors import OutcomeOption, PhaseOption, ReasonOption, Selection, SelectorOption, StateOption
from agent.cli.state_file import existing_store
from agent.platform.clock import SystemClock
from agent.store import open_reading
from agent.store.audit.event_reader import EventReader


def events(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or uids of requests. Default: all.",
            metavar="[NAME]...",
            autocompletion=complete_request_name,
        ),
    ] = None,
    selector: SelectorOption = None,
    phase: PhaseOption = None,
    state: StateOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    since: Annotated[str | None, typer.Option("--since", help="Only events of this last duration, as 1h.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new events until Ctrl-C.")] = False,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show the events of all requests in plain words, newest last.

    A selection chooses the requests as they are when the command begins. Read-only; works whether or not an agent is
    running. With --follow, JSON is one object a line. The fields that each event changed are in `audit log`.

    Exit codes: 0 shown, or the end of --follow, 1 unknown request, or no state file, 2 wrong use.

    Example: assure-agent events --since 1h -f
    """
    begin = 0.0 if since is None else SystemClock().now() - duration_option("--since", since)
    selection = Selection.parse(selector, phase, state, outcome, reason)
    settings = existing_store(state_url)
    with requests_named(settings, names or [], follow) as (audit, found):
        uids = {subject.uid for subject in found} if names else None
        if selection:
            with open_reading(settings) as reading:
                chosen = {record.uid for record in reading.all() if selection.matches(record)}
            uids = chosen if uids is None else uids & chosen
        printer = EventPrinter(
            EventReader(audit, None if uids is None else sorted(uids), begin), output, with_name=True
        )
        if follow:
            printer.follow(lambda: False)
        else:
            printer.print()
