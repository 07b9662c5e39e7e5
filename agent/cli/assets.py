"""`assure-agent assets`: write dashboards, rules, runbook and deployment files of this version."""

from pathlib import Path
from typing import Annotated

import typer

_EXAMPLES = ("specs/", "images/")  # `init` writes these


def assets(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder. It is created if necessary.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
) -> None:
    """Write dashboards, rules, runbook and deployment files.

    The files fit the installed version: Grafana dashboards and provisioning, Prometheus rules, the runbook, the systemd
    unit, and the files for compose and Kubernetes. A file that differs stays as it is, unless --overwrite is given.

    Exit codes: 0 all files are those of this version, 1 some files differ, or a file cannot be written.

    Example: assure-agent assets monitoring
    """
    from agent.cli.packaged_files import packaged_files
    from agent.core.errors import AgentError
    from agent.views.phrases import count_of

    differing = 0
    for name, source in packaged_files().items():
        if name.startswith(_EXAMPLES):
            continue
        path, content = folder / name, source.read_bytes()
        existing = path.read_bytes() if path.exists() else None
        if existing is not None and existing != content and not overwrite:
            typer.echo(f"differs {path}")
            differing += 1
        elif existing != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            typer.echo(f"{'made' if existing is None else 'replaced'} {path}")
    if differing:
        raise AgentError(
            f"{count_of(differing, 'file')} in {folder} {'differs' if differing == 1 else 'differ'} from this version.",
            "compare them in another folder, or replace them with --overwrite",
        )
    typer.echo(f"The files in {folder} are those of this version.")
