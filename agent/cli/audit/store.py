"""What the audit commands share: the state file that they read, and how they refuse one that is not there."""

from pathlib import Path

from agent.core.errors import AgentError
from agent.settings import load_settings


def state_file(state: str | None) -> Path:
    """The state file. Raises AgentError when there is none."""
    path = load_settings(state_url=state).state_path
    if not path.exists():
        raise AgentError(f"There is no state file at {path}.", "check ASSURE_AGENT_STATE_URL")
    return path


def no_request(name: str) -> AgentError:
    """Nobody of this name or uid."""
    return AgentError(
        f"There is no request named {name}, and none with this uid.",
        "see all of them with `assure-agent audit query who-asked`",
    )
