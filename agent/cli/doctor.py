"""`assure-agent doctor`: check the installation. Changes nothing."""

import asyncio
from typing import Annotated, Any

import typer

from agent.cli.checks import Check, State
from agent.cli.checks import settings as settings_checks
from agent.cli.options import ImagesOption, OutputOption, SpecsOption, StateUrlOption
from agent.cli.output import Format, print_json, print_table
from agent.core.errors import SettingsError
from agent.platform.settings import load_found


def doctor(
    output: OutputOption = Format.TABLE,
    offline: Annotated[bool, typer.Option("--offline", help="Do not call Assure and the git server.")] = False,
    specs: SpecsOption = None,
    images: ImagesOption = None,
    state_url: StateUrlOption = None,
) -> None:
    """Check the installation and its connection to Assure.

    Checks the settings, proxy, credentials, clock, permissions, free space, SQLite, store, source, watches, ports, and
    images tracked by git. With a database, its server instead of SQLite. With SOURCE_URL also git and its server, the
    files of keys, and the revision that the agent acts on. Read-only; the only call to Assure requests a token. Secrets
    are shown as set or not set. If TLS does not trust the server, its certificate and time are read by a request
    without credentials.

    Exit codes: 0 no problem (warnings are possible), 1 a problem.

    Example: assure-agent doctor -o json
    """
    checks, values = _run_checks({"specs_dir": specs, "images_dir": images, "state_url": state_url}, offline)
    problem = any(check.state is State.PROBLEM for check in checks)
    if output is Format.JSON:
        print_json(
            {
                "ok": not problem,
                "checks": [_check_json(one) for one in checks],
                "settings": [_value_json(v) for v in values],
            }
        )
    else:
        if values:
            print_table(("setting", "value", "from"), [[v.name, v.shown, v.origin] for v in values])
            typer.echo()
        print_table(("check", "state", "finding"), [[c.name, c.state.value, c.sentence] for c in checks])
    if problem:
        raise typer.Exit(1)


def _run_checks(flags: dict[str, Any], offline: bool) -> tuple[list[Check], list[settings_checks.Value]]:
    from agent.cli.checks import assure, local, network  # imported late: they import the whole agent

    try:
        settings, found = load_found(**flags)
    except SettingsError as error:
        return [Check(name="settings", state=State.PROBLEM, message=str(error).rstrip("."), hint=error.hint)], []
    values = settings_checks.origins(settings, found)
    checks = [
        Check(name="settings", message=f"{len(values)} settings can be read"),
        *settings_checks.checks(settings, found),
        *network.checks(settings),
        *asyncio.run(assure.checks(settings, offline)),
        *local.checks(settings, offline),
    ]
    return checks, values


def _check_json(check: Check) -> dict[str, Any]:
    return {"check": check.name, "state": check.state, "message": check.message, "hint": check.hint or None}


def _value_json(value: settings_checks.Value) -> dict[str, Any]:
    return {"name": value.name, "value": value.shown, "from": value.origin}
