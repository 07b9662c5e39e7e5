"""The question before a command that bills or erases, and the option that shows the effect without it."""

import sys
from typing import Annotated

import typer

from agent.core.errors import WrongUse

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would happen, and change nothing.")]


def confirm(question: str, yes: bool) -> None:
    """Return if `yes` is given or the user answers with yes. Raises Exit with code 1 after another answer.

    Raises WrongUse without a terminal: a program that answers every question has not read this one.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse(f"Not confirmed: {question}", "--yes, after --dry-run has shown the effect")
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(1)
