"""`assure-agent approve`: approve mass withdrawals, or new work after a recovery."""

from typing import Annotated

import typer

from agent.cli.agent_client import run_command


def approve(state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None) -> None:
    """Approve mass withdrawals, or new work after a recovery.

    Withdrawals wait for approval if many files were removed at once. After a lost or restored store, requests wait
    whose state Assure does not show. Once approved, the agent verifies them, and Assure bills them.

    Exit codes: 0 approved, 1 error.

    Example: assure-agent approve
    """
    run_command("approve", state)
