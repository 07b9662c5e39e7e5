"""`assure-agent approve`: a person's word to go on."""

from typing import Annotated

import typer

from agent.cli.agent_client import tell


def approve(state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None) -> None:
    """Approve what waits for a person's word.

    That is withdrawals, when so many files were removed at once; and, when the store was lost or put back, all that
    the agent holds because Assure does not show what became of it: it is verified, and billed.

    Exit codes: 0 approved, 1 error.

    Example: assure-agent approve
    """
    tell("approve", state)
