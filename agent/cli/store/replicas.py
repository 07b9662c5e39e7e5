"""`assure-agent store replicas`: list the processes that write to the store."""

from typing import TYPE_CHECKING

import typer

from agent.cli.options import OutputOption, StateUrlOption
from agent.cli.output import Format, print_json, print_table
from agent.cli.state_file import require_store, store_settings
from agent.store import open_reading

if TYPE_CHECKING:
    from agent.store.read_results import LivingProcess

_COLUMNS = ("name", "kind", "version", "since", "lease", "requests", "turns")


def replicas(state_url: StateUrlOption = None, output: OutputOption = Format.TABLE) -> None:
    """List the agents and commands that write to the store now.

    `lease` is the time until another replica may take the work of this one, unless it renews its lease. `requests` is
    the number of requests that it works on now. `turns` is work that one replica does at a time, such as the scan of
    the source. A state file has one agent at most, and does not know more than its process id.

    Exit codes: 0 listed (the list may be empty), 1 error.

    Example: assure-agent store replicas
    """
    settings = store_settings(state_url)
    require_store(settings)
    with open_reading(settings) as reading:
        living = reading.processes()
    if output is Format.JSON:
        print_json([one.to_json() for one in living])
    elif living:
        print_table(_COLUMNS, [_row(one) for one in living])
    else:
        typer.echo(f"No agent is running on the {settings.store_name}. Try: start it with `assure-agent run`.")


def _row(one: "LivingProcess") -> list[str]:
    from agent.core.timestamps import format_optional_timestamp

    return [
        one.name,
        one.kind,
        one.version or "-",
        format_optional_timestamp(one.since) or "-",
        "-" if one.lease_seconds is None else f"{one.lease_seconds:.0f}s",
        "-" if one.driving is None else str(one.driving),
        ", ".join(one.turns) or "-",
    ]
