"""`assure-agent rerun`: verify a request again."""

from agent.cli.agent_client import run_command
from agent.cli.options import RequestName, StateUrlOption


def rerun(
    name: RequestName,
    state_url: StateUrlOption = None,
) -> None:
    """Verify a request again, with its current file and images. Assure bills the verification again.

    Exit codes: 0 the agent accepted the rerun, 1 unknown request, or a request file that would be refused.

    Example: assure-agent rerun customer-4711
    """
    run_command("rerun", state_url, name=name)
