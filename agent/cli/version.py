"""`assure-agent version`: show the versions of the command line, the running agent and the store."""

import sys
from collections import Counter
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
    database, its place, the version of its server and those of its replicas are shown as well.

    Exit codes: 0 shown, 1 a setting is missing or wrong, 2 a setting is unknown or misspelt.

    Example: assure-agent version -o json
    """
    settings = store_settings(state_url)
    found = _versions(settings)
    if output is Format.JSON:
        print_json(found)
        return
    agent, store = found["agent"], found["store"]
    rows: list[list[str]] = [
        ["client", __version__],
        ["agent", _agent(agent)],
        ["store", store["schema"] or store["error"] or "none"],
        ["Python", found["client"]["python"]],
        ["SQLite", found["client"]["sqlite"]],
    ]
    if settings.uses_database:
        replicas = ", ".join(f"{version} ({count})" for version, count in sorted(store["replicas"].items()))
        of_database = [["database", store["database"]], ["PostgreSQL", store["server"] or "unknown"]]
        rows[3:] = [*of_database, ["replicas", replicas or "none"], rows[3]]
    print_table(("part", "version"), rows)
    if agent is not None and agent["process"] is None and agent["version"] != __version__:
        typer.echo("The running agent has another version. Try: restart it.", err=True)


def _agent(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not running"
    if found["process"] is not None:
        return f"{found['process']}: no answer on this machine"
    return found["version"] or "an earlier version, which does not report it"


def _versions(settings: Settings) -> dict[str, Any]:
    running = version_of_running_agent(settings)
    schema, server, elsewhere, error = None, None, None, None
    replicas: Counter[str] = Counter()
    try:
        if store_exists(settings):
            elsewhere = running_agent(settings) if running is None else None
            with open_reading(settings) as reading:
                schema = max(reading.migrations(), default=None)
                if settings.uses_database:
                    server = reading.engine_version()
                    replicas = Counter(one.version or "-" for one in reading.processes() if one.kind == "replica")
    except StoreError as unreadable:
        error = str(unreadable)
    known = running is not None or elsewhere is not None
    return {
        "client": {
            "version": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "sqlite": sqlite3.sqlite_version,
        },
        "agent": {"version": running or None, "process": elsewhere and str(elsewhere)} if known else None,
        "store": {
            "file": None if settings.uses_database else str(settings.state_path),
            "database": settings.state_url if settings.uses_database else None,
            "schema": schema,
            "server": server,
            "replicas": dict(replicas),
            "error": error,
        },
    }
