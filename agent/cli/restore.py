"""`assure-agent restore`: put a backup in the place of the store."""

from pathlib import Path
from typing import Annotated

import typer

from agent.core.timestamps import format_optional_timestamp
from agent.platform.settings import load_settings
from agent.views.explain import count_of


def restore(
    path: Annotated[Path, typer.Argument(help="The backup, or a plain copy of a state file.")],
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Put a backup in the place of the store, while no agent runs. What was there is kept beside it.

    The next run asks Assure what it still has, goes on with that, and begins nothing until `assure-agent approve`.

    Exit codes: 0 restored, 1 error, or an agent runs.

    Example: assure-agent restore /var/backups/assure-agent/agent-20261123T190000Z.db
    """
    from agent.store import backup, replaced_files

    settings = load_settings(state_url=state)
    found, kept = backup.restore(path, settings.state_path)
    made = f" of {format_optional_timestamp(found.at)}" if found.at is not None else ""
    typer.echo(
        f"restored {count_of(found.requests, 'request')}{made}; "
        "the next run starts nothing until `assure-agent approve`"
    )
    if kept is not None:
        links = "" if replaced_files.erase_links(kept) else ", and capture links that could not be erased"
        typer.echo(f"what was there is kept as {kept}; remove it once it is not needed: it holds names{links}")
