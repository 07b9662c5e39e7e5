"""`assure-agent events`: show what happened to all requests."""

from typing import Annotated

import typer

from agent.cli.event_log import EventPrinter, requests_named
from agent.cli.options import OutputOption, StateUrlOption, duration_option
from agent.cli.output import Format
from agent.cli.state_file import state_file
from agent.platform.clock import SystemClock
from agent.store.audit.request_log import EventReader


def events(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or uids of requests. Default: all.", metavar="[NAME]...")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only events of this last duration, as 1h.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new events until Ctrl-C.")] = False,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show the events of all requests in plain words, newest last.

    Read-only; works whether or not an agent is running. With --follow, JSON is one object a line. The fields that
    each event changed are in `audit log`.

    Exit codes: 0 shown, or the end of --follow, 1 unknown request, or no state file.

    Example: assure-agent events --since 1h -f
    """
    begin = 0.0 if since is None else SystemClock().now() - duration_option("--since", since)
    with requests_named(state_file(state_url), names or [], follow) as (connection, found):
        uids = [subject.uid for subject in found] if names else None
        printer = EventPrinter(connection, EventReader(connection, uids, begin), output, with_name=True)
        if follow:
            printer.follow(lambda: False)
        else:
            printer.print()
