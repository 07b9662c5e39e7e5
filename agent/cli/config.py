"""`assure-agent config view`: show the settings."""

import typer

from agent.cli.checks.settings import Value, origins
from agent.cli.help import SectionedGroup
from agent.cli.options import OutputOption
from agent.cli.output import Format, print_json, print_table
from agent.platform.settings import load_found

app = typer.Typer(help="Show the settings.", cls=SectionedGroup, no_args_is_help=True, rich_markup_mode=None)


@app.command("view")
def view(output: OutputOption = Format.TABLE) -> None:
    """Show each setting with its value, default and source.

    The source is a flag, the environment, or a file with the line. Secrets are shown as set or not set. Times are in
    seconds. `doctor` checks the settings.

    Exit codes: 0 shown, 1 a setting is missing or wrong, 2 a setting is unknown or misspelt.

    Example: assure-agent config view -o json
    """
    settings, found = load_found()
    values = origins(settings, found)
    if output is Format.JSON:
        print_json({"items": [_json(value) for value in values]})
    else:
        rows = [[value.name, value.shown or "-", value.default or "-", value.where or "default"] for value in values]
        print_table(("setting", "value", "default", "from"), rows)


def _json(value: Value) -> dict[str, str | None]:
    return {
        "name": value.name,
        "value": value.shown,
        "default": value.default,
        "source": value.origin,
        "where": value.where or None,
    }
