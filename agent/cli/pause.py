"""`assure-agent pause` and `resume`: stop the start of new work for a while."""

from agent.cli.agent_client import run_command
from agent.cli.options import StateUrlOption


def pause(state_url: StateUrlOption = None) -> None:
    """Start no new work until `resume`. The agent continues to poll and delete the dossiers at Assure.

    Exit codes: 0 paused, 1 error.

    Example: assure-agent pause
    """
    run_command("pause", state_url)


def resume(state_url: StateUrlOption = None) -> None:
    """Continue after `pause`, or after many dossiers were missing.

    In the second case it confirms that the missing dossiers that opened the circuit breaker were deleted.

    Exit codes: 0 resumed, 1 error.

    Example: assure-agent resume
    """
    run_command("resume", state_url)
