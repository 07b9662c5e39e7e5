"""`assure-agent help`, and the form of the help: commands in sections, each with its whole first sentence."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context
    from typer._click.formatting import HelpFormatter

SECTIONS = {
    "Start": ("init", "run", "sandbox", "validate", "schema", "document-types", "doctor", "completion"),
    "Daily work": ("plan", "diff", "get", "describe", "explain", "logs", "events", "wait", "page", "claims"),
    "Decisions": ("resolve", "rerun", "approve", "pause", "resume", "forget"),
    "Audit": ("audit",),
    "Maintenance": ("backup", "restore", "store", "config", "version", "assets", "help"),
}
"""The commands in the order of the help."""
HELP_WIDTH = 80
"""Columns of the help on every terminal, and in a pipe."""


def show_help(
    command: Annotated[
        list[str] | None, typer.Argument(help="A command, such as `audit verify`. Default: all.")
    ] = None,
) -> None:
    """Show the help of a command.

    Exit codes: 0 shown, 2 unknown command.

    Example: assure-agent help audit verify
    """
    from agent.cli.app import create_app

    words = command or []
    create_app(words)([*words, "--help"], prog_name="assure-agent")


def summary(text: str | None) -> str:
    """The first sentence of a help text."""
    first = " ".join((text or "").split("\n\n")[0].split())
    return first.split(". ")[0].removesuffix(".") + "."


class SectionedGroup(TyperGroup):
    """A group whose help shows the whole summary of each command, and the commands of the application in sections."""

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write a list for each section. Typer itself cuts each summary at the width of the terminal."""
        width = max(map(len, self.commands))
        for title, names in (SECTIONS if ctx.parent is None else {"Commands": tuple(self.commands)}).items():
            found = {name: self.commands[name] for name in names if name in self.commands}
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary(command.help)) for name, command in found.items()])
