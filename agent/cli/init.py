"""`assure-agent init`: make a working folder with examples."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

_EXAMPLES = ("specs/", "images/")
_GITIGNORE = """\
# Images of people, the state and secrets do not belong into history.
/images/*
!/images/specimens/
/state/
/.env
"""
_ENV_HEAD = """\
# Settings of the agent. The variables of the environment and the options of commands win over this file.
# The agent reads it after its first run in this folder; before that, name it: assure-agent --env-file .env plan
# `assure-agent run --sandbox` needs none of them.
"""
_ENV = {  # the settings that most users need, and an example of each; Settings has the descriptions
    "client_id": "",
    "client_secret": "",
    "source_url": "https://git.example/team/requests.git",
    "source_path": "specs",
    "source_token_file": "/etc/assure-agent/git-token",
    "max_starts_per_day": "100",
    "listen": "127.0.0.1:9464",
    "api_token": "",
    "claims_key": "",
    "images_after_upload": "delete",
    "backup_dir": "/var/backups/assure-agent",
}


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder. It is created if necessary.")] = Path(),
) -> None:
    """Make a working folder with examples and settings.

    The folder contains request files, the images of invented people, a commented .env, and a .gitignore for images,
    state and secrets. Existing files stay as they are.

    Exit codes: 0 the folder is complete, 1 a file cannot be written.

    Example: assure-agent init demo
    """
    for name, content in _contents():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        typer.echo(f"{'made' if _made(path, content, 0o600 if name == '.env' else 0o666) else 'kept'} {path}")
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    typer.echo(f"\nNext: {there}assure-agent run --sandbox")


def _contents() -> Iterator[tuple[str, bytes]]:
    """Each file of a working folder: its path and its content."""
    from agent.cli.packaged_files import packaged_files
    from agent.core.request_schema import schema_text

    yield ".env", _env().encode()
    yield ".gitignore", _GITIGNORE.encode()
    for name, path in packaged_files().items():
        if name.startswith(_EXAMPLES):
            yield name, path.read_bytes()
    yield "specs/schema.json", schema_text().encode()


def _env() -> str:
    """The text of `.env`: each setting with its description, as a comment."""
    from agent.platform.settings import PREFIX, Settings

    lines = (f"\n# {Settings.model_fields[name].description}\n#{PREFIX}{name.upper()}={_ENV[name]}\n" for name in _ENV)
    return "".join([_ENV_HEAD, *lines])


def _made(path: Path, content: bytes, mode: int) -> bool:
    """Write a new file. Returns False if something is at the path already, and leaves it unchanged."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return True
