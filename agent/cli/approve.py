"""`assure-agent approve`: approve mass withdrawals, or new work after a recovery."""

from agent.cli.agent_client import run_command
from agent.cli.options import StateUrlOption


def approve(state_url: StateUrlOption = None) -> None:
    """Approve mass withdrawals, or new work after a recovery.

    Withdrawals wait for approval if many files were removed at once. After the store was lost or restored, requests
    wait if Assure has no trace of them. After the approval, the agent verifies them, and Assure bills them.

    Exit codes: 0 approved, 1 error.

    Example: assure-agent approve
    """
    run_command("approve", state_url)
