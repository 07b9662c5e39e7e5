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
from agent.platform.settings import Settings
from agent.store import open_reading, running_agent, store_exists
from agent.store.sqlite.connection import sqlite3


def version(output: OutputOption = Format.TABLE, state_url: StateUrlOption = None) -> None:
    """Show the versions of this command, the agent and the store.

    Asks the agent over its control socket, if one is running. The version of the store is its last migration. With a
    database, its place and the version of its server are shown as well.

    Exit codes: 0 shown, 1 a setting is missing or wrong, 2 a setting is unknown or misspelt.

    Example: assure-agent version -o json
    """
    settings = store_settings(state_url)
    store = _store(settings)
    running = version_of_running_agent(settings)
    found: dict[str, Any] = {
        "client": {
            "version": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "sqlite": sqlite3.sqlite_version,
        },
        "agent": None if running is None else {"version": running or None},
        "store": store,
    }
    if output is Format.JSON:
        print_json(found)
        return
    rows: list[list[str]] = [
        ["client", __version__],
        ["agent", "an earlier version, which does not report it" if running == "" else running or _unreached(store)],
        ["store", store["schema"] or store["error"] or "none"],
        ["Python", found["client"]["python"]],
        ["PostgreSQL", store["server"] or "unknown"] if settings.uses_database else ["SQLite", sqlite3.sqlite_version],
    ]
    if settings.uses_database:
        rows.insert(3, ["database", store["place"]])
    print_table(("part", "version"), rows)
    if running is not None and running != __version__:
        typer.echo("The running agent has another version. Try: restart it.", err=True)


def _unreached(store: dict[str, Any]) -> str:
    return f"not reachable here; {store['owner']} owns the database" if store["owner"] else "not running"


def _store(settings: Settings) -> dict[str, Any]:
    """The store: its place, its last migration, the version of its server, and the process that owns a database."""
    schema, server, owner, error = None, None, None, None
    try:
        if store_exists(settings):
            with open_reading(settings) as reading:
                schema = max(reading.migrations(), default=None)
                server = reading.engine_version() if settings.uses_database else None
            owner = running_agent(settings) if settings.uses_database else None
    except StoreError as unreadable:
        error = str(unreadable)
    kind, place = settings.store_place
    file = None if settings.uses_database else place
    return {
        "kind": kind,
        "place": place,
        "file": file,
        "schema": schema,
        "server": server,
        "owner": None if owner is None else str(owner),
        "error": error,
    }
