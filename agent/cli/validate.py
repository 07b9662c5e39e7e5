"""`assure-agent validate`: are these request files good? Needs no credentials and no state."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Format, print_json
from agent.platform.settings import load_settings


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Request files, or folders of them.")],
    images: Annotated[bool, typer.Option("--images/--no-images", help="Look at the images too.")] = True,
    images_dir: Annotated[Path | None, typer.Option("--images-dir", help="The images folder, as IMAGES_DIR.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
) -> None:
    """Check request files and print FILE:LINE:COLUMN: message for each fault.

    Exit codes: 0 all good, 5 something would be refused, 2 wrong use.

    Example: assure-agent validate specs --no-images
    """
    from agent.source import validate as checks
    from agent.source.ownership import Owners
    from agent.views.explain import passed_over

    settings = load_settings(images_dir=images_dir)
    folder = settings.images_dir if images else None
    owners = Owners.of(settings.source_owner)
    found = checks.validate(
        paths, folder, settings.max_image_bytes, settings.keeps_claims, owners, foreign=settings.ignores_others
    )
    faults = found.faults
    if found.passed_over:
        typer.echo(passed_over(found.passed_over), err=True)
    if output is Format.JSON:
        print_json(
            [{"file": f.file, "line": f.line, "column": f.column, "message": f.message, "hint": f.hint} for f in faults]
        )
    else:
        for fault in faults:
            typer.echo(f"{fault}. Try: {fault.hint}.")
    if faults:
        raise typer.Exit(5)
