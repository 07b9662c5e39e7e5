"""`assure-agent doctor`: is everything there that the agent needs, and as it should be? Changes nothing."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.checks import Check, State
from agent.cli.checks import settings as settings_checks
from agent.cli.output import Format, print_json, print_table
from agent.core.errors import SettingsError
from agent.platform.settings import load_found


def doctor(
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of Assure.")] = False,
    specs: Annotated[Path | None, typer.Option("--specs", help="The folder of request files, as SPECS_DIR.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="The images folder, as IMAGES_DIR.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Check settings, credentials, clock, permissions, SQLite, the store, the source, and what git has of the images.

    Read-only; asks Assure for a token only. Secrets are told as set or not set. Exit codes: 0 fine (warnings too),
    1 there is a problem.

    Example: assure-agent doctor -o json
    """
    from agent.cli.checks import assure, local  # with all of the agent behind them: no other command waits for that

    flags = {"specs_dir": specs, "images_dir": images, "state_url": state}
    checks: list[Check] = []
    values: list[settings_checks.Value] = []
    try:
        settings, found = load_found(**flags)
    except SettingsError as error:
        checks.insert(0, Check(name="settings", state=State.PROBLEM, message=str(error).rstrip("."), hint=error.hint))
    else:
        values = settings_checks.origins(settings, found)
        checks.insert(0, Check(name="settings", message=f"{len(values)} settings can be read"))
        checks += settings_checks.checks(settings, found)
        checks += asyncio.run(assure.checks(settings, offline))
        checks += local.checks(settings)
    problem = any(check.state is State.PROBLEM for check in checks)
    if output is Format.JSON:
        print_json(
            {
                "ok": not problem,
                "checks": [
                    {"check": c.name, "state": c.state, "message": c.message, "hint": c.hint or None} for c in checks
                ],
                "settings": [{"name": value.name, "value": value.shown, "from": value.origin} for value in values],
            }
        )
    else:
        if values:
            print_table(("setting", "value", "from"), [[v.name, v.shown, v.origin] for v in values])
            typer.echo()
        print_table(("check", "state", "finding"), [[c.name, c.state.value, c.sentence] for c in checks])
    if problem:
        raise typer.Exit(1)
