"""The application and its commands."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from agent import __version__

_COMMANDS = (
    "run", "plan", "get", "explain", "describe", "wait", "validate", "document-types", "schema", "page", "resolve",
    "rerun", "approve", "pause", "resume", "claims", "forget", "backup", "restore", "doctor", "completion",
)  # fmt: skip
_GROUPS = ("sandbox", "audit")
_MODULES = {"resume": "pause"}  # the commands that have no module of their own name


def create_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application with all commands, or only with the command that `arguments` begin with.

    The imports of all commands cost ten times as much CPU as those of `get`. Only the help and an unknown command need
    all of them.
    """
    app = typer.Typer(
        name="assure-agent",
        help="Reconcile identity verification requests in a folder with Signicat Assure (PictureID).\n\n"
        "Exit codes: 0 success, 1 error, 2 wrong use, 3 a request is held, 4 not settled at the timeout, "
        "5 refused files.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    first = arguments[0] if arguments else ""
    one = first in _COMMANDS or first in _GROUPS
    for name in (first,) if one else (*_COMMANDS, *_GROUPS):
        module = import_module(f"agent.cli.{_MODULES.get(name, name.replace('-', '_'))}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"assure-agent {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    env_file: Annotated[
        str | None, typer.Option("--env-file", help="Read this file instead of .env. Empty: none.")
    ] = None,
    config_file: Annotated[
        str | None, typer.Option("--config-file", help="Read this file instead of assure-agent.yaml. Empty: none.")
    ] = None,
    token_host: Annotated[
        str | None, typer.Option("--token-host", help="Additional host that TOKEN_URL may name.")
    ] = None,
) -> None:
    """Declare the options that every command accepts. `agent.cli.main` removes the last three from the arguments."""
