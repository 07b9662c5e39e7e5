"""The state file of a command: the one in the settings, or the sandbox's if no other exists.

`run --sandbox` keeps its store in a separate folder, `state/sandbox/`, so that a demo never mixes with real requests.
While the store of the demo is the only one, commands such as `assure-agent get` use it and print a note on stderr.
"""

import shlex
from pathlib import Path

import typer

from agent.core.errors import AgentError
from agent.platform.settings import Settings, load_settings
from agent.store import store_exists

FOLDER = "sandbox"


def sandbox_state(settings: Settings) -> Path:
    """The state file of `run --sandbox`: STATE_URL if it is set, otherwise `sandbox/` below the default folder."""
    path = settings.local_path
    return path if "state_url" in settings.model_fields_set else path.parent / FOLDER / path.name


def store_settings(state_url: str | None) -> Settings:
    """The settings for a command that reads the store or sends a command to it. Raises SettingsError."""
    settings = load_settings(state_url=state_url)
    if not _only_sandbox(settings):
        return settings
    typer.echo(
        f"There is no state file at {settings.state_path}; using the one of the sandbox, {sandbox_state(settings)}.",
        err=True,
    )
    return sandbox_settings(settings)


def sandbox_settings(settings: Settings) -> Settings:
    """The same settings with the state file of `run --sandbox`, or with the database of STATE_URL."""
    if settings.uses_database:
        return settings
    return settings.model_copy(update={"state_url": f"sqlite:///{sandbox_state(settings)}"})


def _only_sandbox(settings: Settings) -> bool:
    return not settings.uses_database and not settings.state_path.exists() and sandbox_state(settings).exists()


def state_option(settings: Settings) -> str:
    """The option with which other commands find this store, after a space; empty if they need none."""
    default = load_settings()
    if settings.uses_database:
        return "" if default.state_url == settings.state_url else f" --state-url {shlex.quote(settings.state_url)}"
    found = sandbox_state(default) if _only_sandbox(default) else default.local_path
    return "" if found == settings.state_path else f" --state-url {shlex.quote(f'sqlite:///{settings.state_path}')}"


def existing_store(state_url: str | None) -> Settings:
    """The settings for a command that reads the store. Raises AgentError if the store does not exist."""
    settings = store_settings(state_url)
    require_store(settings)
    return settings


def require_store(settings: Settings) -> None:
    """Raise AgentError if the store does not exist."""
    if not store_exists(settings):
        creates = "start the agent, which creates them, or " if settings.uses_database else ""
        raise AgentError(f"{no_store(settings)}.", f"{creates}check ASSURE_AGENT_STATE_URL")


def no_store(settings: Settings) -> str:
    """A sentence without its period: the store does not exist."""
    if settings.uses_database:
        return f"The {settings.store_name} has no tables of an agent yet"
    return f"There is no state file at {settings.state_path}"
