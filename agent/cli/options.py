"""Options and arguments that several commands share, and the check of durations."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Format
from agent.cli.request_names import complete_request_name
from agent.core.duration import parse_duration

StateUrlOption = Annotated[
    str | None, typer.Option("--state-url", help="URL of the state file or the database, as STATE_URL.")
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="Output format: table or json.")]
SpecsOption = Annotated[Path | None, typer.Option("--specs", help="Folder of the request files, as SPECS_DIR.")]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Folder of the images, as IMAGES_DIR.")]
RequestName = Annotated[str, typer.Argument(help="Name of the request.", autocompletion=complete_request_name)]
AuditedName = Annotated[
    str,
    typer.Argument(
        help="Name or uid of the request. A forgotten name works too.", autocompletion=complete_request_name
    ),
]


def is_quiet() -> bool:
    """True with `--quiet`: the command prints no progress and no confirmation."""
    from agent.platform.settings import SHARED

    return SHARED.get().get("log_level") == "warning"


def duration_option(option: str, text: str) -> float:
    """The duration in seconds. Raises BadParameter with the name of the option."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None
