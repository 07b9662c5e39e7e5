"""`assure-agent store migrate`: create or migrate the tables of a database."""

import asyncio
from typing import Annotated

import typer

from agent.cli.options import StateUrlOption
from agent.core.errors import WrongUse
from agent.platform.settings import load_settings


def migrate(
    grant: Annotated[
        str | None, typer.Option("--grant", metavar="ROLE", help="Grant this role what the agent needs.")
    ] = None,
    state_url: StateUrlOption = None,
) -> None:
    """Create or migrate the tables of a PostgreSQL database.

    The user of --state-url owns the tables. With --grant, the role of the agent may then do what the agent does,
    and no more: it cannot change events or drop a trigger. Without a pending migration, the command changes nothing.
    `run` does the same for a user who may create tables. A state file needs no such command.

    Exit codes: 0 the schema is current, 1 error, 2 STATE_URL names no database.

    Example: assure-agent store migrate --grant agent --state-url postgresql://owner@db.example/agent
    """
    settings = load_settings(state_url=state_url)
    if not settings.uses_database:
        raise WrongUse(
            f"STATE_URL names the state file {settings.state_path}, which the agent migrates at its start.",
            "name a database with --state-url",
        )
    from agent.store.postgres.roles import grant_to_agent, migrate_as_owner

    applied = asyncio.run(migrate_as_owner(settings))
    for name in applied:
        typer.echo(f"applied the migration {name}")
    if not applied:
        typer.echo("the schema is current: nothing to migrate")
    if grant is not None:
        asyncio.run(grant_to_agent(settings, grant))
        typer.echo(f"the role {grant} may do what the agent does")
