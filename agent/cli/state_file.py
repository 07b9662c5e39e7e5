"""The state file of a command: the one in the settings, or the sandbox's if no other exists.

`run --sandbox` keeps its store in a separate folder, `state/sandbox/`, so that a demo never mixes with real requests.
While the store of the demo is the only one, commands such as `assure-agent get` use it and print a note on stderr.
"""

from pathlib import Path

import typer

from agent.core.errors import AgentError
from agent.platform.settings import Settings, load_settings

FOLDER = "sandbox"


def sandbox_state(settings: Settings) -> Path:
    """The state file of `run --sandbox`: STATE_URL if it is set, otherwise `sandbox/` below the default folder."""
    path = settings.state_path
    return path if "state_url" in settings.model_fields_set else path.parent / FOLDER / path.name


def store_settings(state_url: str | None) -> Settings:
    """The settings for a command that reads the store or sends a command to it. Raises SettingsError."""
    settings = load_settings(state_url=state_url)
    sandbox_file = sandbox_state(settings)
    if not _only_sandbox(settings):
        return settings
    typer.echo(
        f"There is no state file at {settings.state_path}; using the one of the sandbox, {sandbox_file}.", err=True
    )
    return settings.model_copy(update={"state_url": f"sqlite:///{sandbox_file}"})


def _only_sandbox(settings: Settings) -> bool:
    return not settings.state_path.exists() and sandbox_state(settings).exists()


def state_option(settings: Settings) -> str:
    """The option with which other commands find this store, after a space; empty if they need none."""
    default = load_settings()
    found = sandbox_state(default) if _only_sandbox(default) else default.state_path
    return "" if found == settings.state_path else f" --state-url sqlite:///{settings.state_path}"


def state_file(state_url: str | None) -> Path:
    """The state file of the settings. Raises AgentError if it does not exist."""
    return require_state_file(store_settings(state_url).state_path)


def require_state_file(path: Path) -> Path:
    """The same path. Raises AgentError if the state file does not exist."""
    if not path.exists():
        raise AgentError(f"There is no state file at {path}.", "check ASSURE_AGENT_STATE_URL")
    return path
