"""`assure-agent logs NAME`: show what happened to one request."""

from typing import Annotated

import orjson
import typer

from agent.cli.event_log import EventPrinter, requests_named
from agent.cli.options import AuditedName, OutputOption, StateUrlOption
from agent.cli.output import Format
from agent.cli.state_file import existing_store
from agent.core.record import Phase
from agent.store.audit.event_reader import EventReader


def logs(
    name: AuditedName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new events until the request is done, or Ctrl-C.")
    ] = False,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show the events of one request in plain words, oldest first.

    Read-only; works whether or not an agent is running. With --follow, JSON is one object a line. The fields that
    each event changed are in `audit log`.

    Exit codes: 0 shown, or the end of --follow, 1 unknown request, or no state file.

    Example: assure-agent logs customer-4711 -f
    """
    with requests_named(existing_store(state_url), [name], follow) as (audit, found):
        uids = [subject.uid for subject in found]
        printer = EventPrinter(EventReader(audit, uids), output, with_name=False)

        def all_done() -> bool:
            sql = "SELECT count(*) FROM requests WHERE uid IN (SELECT value FROM json_each(?)) AND phase != ?"
            open_ones: int = audit.execute(sql, (orjson.dumps(uids).decode(), Phase.DONE)).fetchone()[0]
            return open_ones == 0

        if follow:
            printer.follow(all_done)
        else:
            printer.print()
