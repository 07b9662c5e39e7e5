"""`assure-agent restore`: replace the store with a backup."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.confirmation import DryRunOption, YesOption, confirm
from agent.cli.options import StateUrlOption
from agent.core.errors import WrongUse
from agent.core.timestamps import format_optional_timestamp
from agent.platform.settings import load_settings
from agent.views.phrases import count_of


def restore(
    path: Annotated[Path, typer.Argument(help="The backup, or a plain copy of a state file.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    state_url: StateUrlOption = None,
) -> None:
    """Replace the store with a backup, while no agent is running.

    The earlier store is kept next to it. The command asks before it replaces a store.

    At its next start, the agent reads from Assure which dossiers exist and continues them. It starts nothing new until
    `assure-agent approve`.

    Exit codes: 0 restored, 1 error, an agent is running, or not confirmed, 2 no terminal to ask on, or STATE_URL names
    a database.

    Example: assure-agent restore /var/backups/assure-agent/agent-20261123T190000Z.db
    """
    from agent.store.sqlite import backup, replaced_files

    settings = load_settings(state_url=state_url)
    if settings.uses_database:
        raise WrongUse(
            "STATE_URL names a database, and `restore` replaces a state file.",
            "pg_restore into a new database with the same STATE_DIR; see docs/operations/postgresql.md",
        )
    if dry_run or (settings.state_path.exists() and not yes):
        offered = backup.inspect_backup(path)
        effect = f"replace {settings.state_path} with {count_of(offered.requests, 'request')}{_of_time(offered.at)}"
        if dry_run:
            typer.echo(f"would {effect}")
            return
        confirm(f"{effect[0].upper()}{effect[1:]}?", yes)
    found, kept = backup.restore(path, settings.state_path)
    typer.echo(
        f"restored {count_of(found.requests, 'request')}{_of_time(found.at)}; "
        "the next run starts nothing until `assure-agent approve`"
    )
    if kept is not None:
        links = "" if replaced_files.erase_links(kept) else " and capture links that could not be erased"
        typer.echo(f"the earlier state file, with names{links}, is kept as {kept}; remove it when you can")


def _of_time(at: float | None) -> str:
    return f" of {format_optional_timestamp(at)}" if at is not None else ""
