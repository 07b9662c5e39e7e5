"""`assure-agent version`: show the versions of the command line, the running agent and the store."""

import sys
from typing import Any

import typer

from agent import __version__
from agent.cli.agent_client import version_of_running_agent
from agent.cli.options import OutputOption, StateUrlOption
from agent.cli.output import Format, print_json, print_table
from agent.cli.state_file import store_settings
from agent.core.errors import StoreError
from agent.store import open_reading, store_exists
from agent.store.sqlite.connection import sqlite3


def version(output: OutputOption = Format.TABLE, state_url: StateUrlOption = None) -> None:
    """Show the versions of this command, the agent and the store.

    Asks the agent over its control socket, if one is running. The version of the store is its last migration.

    Exit codes: 0 shown, 1 a setting is missing or wrong, 2 a setting is unknown or misspelt.

    Example: assure-agent version -o json
    """
    found = _versions(state_url)
    if output is Format.JSON:
        print_json(found)
        return
    agent = found["agent"]
    running = "not running" if agent is None else agent["version"] or "an earlier version, which does not report it"
    rows = [
        ["client", found["client"]["version"]],
        ["agent", running],
        ["store", found["store"]["schema"] or found["store"]["error"] or "none"],
        ["Python", found["client"]["python"]],
        ["SQLite", found["client"]["sqlite"]],
    ]
    print_table(("part", "version"), rows)
    if agent is not None and agent["version"] != found["client"]["version"]:
        typer.echo("The running agent has another version. Try: restart it.", err=True)


def _versions(state_url: str | None) -> dict[str, Any]:
    settings = store_settings(state_url)
    running = version_of_running_agent(settings)
    schema, error = None, None
    if store_exists(settings):
        try:
            with open_reading(settings) as reading:
                schema = max(reading.migrations(), default=None)
        except StoreError as unreadable:
            error = str(unreadable)
    return {
        "client": {
            "version": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "sqlite": sqlite3.sqlite_version,
        },
        "agent": None if running is None else {"version": running or None},
        "store": {"file": str(settings.state_path), "schema": schema, "error": error},
    }
