"""`assure-agent validate`: check request files. Needs no credentials and no store."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import OutputOption, is_quiet
from agent.cli.output import Format, print_json
from agent.platform.settings import load_settings
from agent.views.resource import fault_json


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Request files, or folders with request files.")],
    images: Annotated[bool, typer.Option("--images/--no-images", help="Check the images as well.")] = True,
    images_dir: Annotated[
        Path | None, typer.Option("--images-dir", help="Folder of the images, as IMAGES_DIR.")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check request files and report each fault with its position.

    A fault is one line, FILE:LINE:COLUMN: message. A last line, on stderr if there are faults, has the number of files,
    requests and faults.

    Exit codes: 0 no faults, 5 the agent would refuse a file, 2 wrong use.

    Example: assure-agent validate specs --no-images
    """
    from agent.source import validate as checks
    from agent.source.ownership import Owners
    from agent.views.phrases import count_of, describe_ignored_files

    settings = load_settings(images_dir=images_dir)
    folder = settings.images_dir if images else None
    owners = Owners.of(settings.source_owner)
    found = checks.validate(
        paths, folder, settings.max_image_bytes, settings.keeps_claims, owners, foreign=settings.ignores_others
    )
    faults = found.faults
    if found.passed_over:
        typer.echo(describe_ignored_files(found.passed_over), err=True)
    if output is Format.JSON:
        print_json([fault_json(fault) for fault in faults])
    else:
        for fault in faults:
            typer.echo(f"{fault}. Try: {fault.hint}.")
        if not is_quiet():
            verdict = count_of(len(faults), "fault") if faults else "ok"
            counts = f"{count_of(found.files, 'file')}, {count_of(found.requests, 'request')}"
            typer.echo(f"{counts}: {verdict}", err=bool(faults))  # editors read the faults from stdout
    if faults:
        raise typer.Exit(5)
