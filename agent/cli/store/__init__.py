"""`assure-agent store`: commands for the store as a whole."""

import typer

from agent.cli.help import SectionedGroup
from agent.cli.store import copy, migrate, replicas

app = typer.Typer(
    help="Copy a store, prepare a database, or list its replicas.",
    cls=SectionedGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("copy")(copy.copy)
app.command("migrate")(migrate.migrate)
app.command("replicas")(replicas.replicas)
