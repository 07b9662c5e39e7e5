"""`assure-agent backup`: a copy of the store, while the agent runs or not."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.agent_client import send_command
from agent.cli.state_file import store_settings
from agent.core.errors import AgentError
from agent.core.timestamps import format_optional_timestamp
from agent.views.explain import count_of


def backup(
    path: Annotated[str, typer.Argument(help="Where to: a file that is not there yet, or a folder.")],
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Make a consistent backup of the store, without capture links, and check it. An agent may run meanwhile.

    It holds the key as well, so that it is all that is needed; keep it where nobody else can read it.

    Exit codes: 0 made and checked, 1 error.

    Example: assure-agent backup /var/backups/assure-agent
    """
    from agent.store.backup import back_up

    if path.endswith("/") and not Path(path).is_dir():  # a path forgets its slash, and would be a file
        raise AgentError(f"There is no folder {path}.", "make it first, or name a file")
    settings = store_settings(state)
    made = back_up(settings.state_path, Path(path))
    with contextlib.suppress(AgentError):  # the backup is made; only the metric does not know of it yet
        send_command(settings, "backed-up", at=made.at)
    typer.echo(
        f"{made.path}: {count_of(made.requests, 'request')}, {count_of(made.events, 'event')}, "
        f"as of {format_optional_timestamp(made.at)}"
    )
