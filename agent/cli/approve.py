"""`assure-agent approve`: a person's word for many withdrawals."""

from typing import Annotated

import typer

from agent.cli.telling import tell


def approve(state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None) -> None:
    """Approve the withdrawals that wait, because so many files were removed at once.

    Exit codes: 0 approved, 1 error.

    Example: assure-agent approve
    """
    tell("approve", state)
