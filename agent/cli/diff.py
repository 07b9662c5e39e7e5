"""`assure-agent diff`: show which fields of the request files differ from what was admitted."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agent.cli.options import ImagesOption, OutputOption, SpecsOption, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.plan import make_plan
from agent.cli.plan_source import current_source
from agent.cli.request_names import complete_request_name
from agent.platform.settings import Settings, load_settings
from agent.source.diagnostics import format_location
from agent.store.nearest_names import unknown_request
from agent.views.plan import Action, Change


def diff(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of requests. Default: all.", metavar="[NAME]...", autocompletion=complete_request_name
        ),
    ] = None,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show personal values also if the output is not a terminal.")
    ] = False,
    output: OutputOption = Format.TABLE,
    specs: SpecsOption = None,
    images: ImagesOption = None,
    state_url: StateUrlOption = None,
) -> None:
    """Show which fields of the request files changed.

    Compares each file with the document that the agent admitted, and shows the path, the old and the new value of each
    field. Of annotations the agent keeps only a digest. Values of labels, image paths, redirect URLs and rerun tokens
    are shown on a terminal, and masked elsewhere. Changes nothing, as `plan`.

    With SOURCE_URL the files are those of the revision that the agent read last. Nothing is fetched.

    Exit codes: 0 no differences, 1 error, or an unknown request, 2 differences (or wrong use), 5 a request file would
    be refused.

    Example: assure-agent diff customer-4711
    """
    settings = load_settings(specs_dir=specs, images_dir=images, state_url=state_url)
    changes = _of_names(settings, asyncio.run(make_plan(settings, current_source(settings))).changes, names or [])
    personal = show_personal or sys.stdout.isatty()
    if output is Format.JSON:
        print_json({"items": [_json(change, personal) for change in changes if change.diff is not None]})
    else:
        for change in changes:
            _print(change, personal)
    refused = any(change.action is Action.REFUSE for change in changes)
    if code := 5 if refused else 2 if any(change.diff is not None for change in changes) else 0:
        raise typer.Exit(code)


def _of_names(settings: Settings, changes: Sequence[Change], names: Sequence[str]) -> Sequence[Change]:
    """The rows of these names, or all of them. Raises UnknownRequest for a name without a row."""
    if not names:
        return changes
    known = {change.name for change in changes}
    for name in names:
        if name not in known:
            raise unknown_request(settings, name)
    return [change for change in changes if change.name in names]


def _json(change: Change, personal: bool) -> dict[str, Any]:
    assert change.diff is not None
    return {
        "name": change.name,
        "action": change.action,
        "file": change.file or None,
        "line": change.line or None,
        "generation": change.diff.generation,
        "fields": change.diff.json(personal),
    }


def _print(change: Change, personal: bool) -> None:
    if change.action is Action.REFUSE:
        place = format_location(change.file, change.line, change.column, change.reason)
        typer.echo(f"refused: {place}. Try: {change.hint}.", err=True)
    if change.diff is not None:
        for line in change.diff.lines(change.name, personal):
            typer.echo(line)
