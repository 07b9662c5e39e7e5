"""`assure-agent backup`: make a copy of the store."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.agent_client import send_command
from agent.cli.options import StateUrlOption
from agent.cli.state_file import store_settings
from agent.core.errors import AgentError, WrongUse
from agent.core.timestamps import format_optional_timestamp
from agent.views.phrases import count_of


def backup(
    path: Annotated[str, typer.Argument(help="A folder, or a file that does not exist yet.")],
    state_url: StateUrlOption = None,
) -> None:
    """Make a consistent backup of the store, and check it.

    An agent may be running. The backup has no capture links. It includes the agent's key, so it is complete. Keep it in
    a place that only the operator can read.

    A database is backed up with the programs of its server.

    Exit codes: 0 the backup was made and checked, 1 error, 2 STATE_URL names a database.

    Example: assure-agent backup /var/backups/assure-agent
    """
    from agent.store.sqlite.backup import back_up

    if path.endswith("/") and not Path(path).is_dir():  # Path drops the slash: it would become a file
        raise AgentError(f"There is no folder {path}.", "create it first, or name a file")
    settings = store_settings(state_url)
    if settings.uses_database:
        raise WrongUse(
            "STATE_URL names a database, and `backup` copies a state file.",
            "pg_dump, or an archive of the write-ahead log; see docs/operations/postgresql.md",
        )
    made = back_up(settings.state_path, Path(path))
    with contextlib.suppress(AgentError):  # the backup is made: only the metric lacks it
        send_command(settings, "backed-up", at=made.at)
    typer.echo(
        f"{made.path}: {count_of(made.requests, 'request')}, {count_of(made.events, 'event')}, "
        f"as of {format_optional_timestamp(made.at)}"
    )
