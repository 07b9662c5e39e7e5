"""The application and its commands."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from agent import __version__
from agent.cli.help import HELP_WIDTH, SECTIONS, SectionedGroup

_GROUPS = ("sandbox", "audit", "config", "store")
_MODULES = {"resume": "pause"}  # the commands that have no module of their own name
_FUNCTIONS = {"help": "show_help"}  # the commands whose function has another name


def create_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application with all commands, or only with the command that `arguments` begin with.

    The imports of all commands cost ten times as much CPU as those of `get`. Only the help and an unknown command need
    all of them.
    """
    app = typer.Typer(
        name="assure-agent",
        help="Reconcile identity verification requests in a folder with Signicat Assure (PictureID).\n\n"
        "Exit codes: 0 success, 1 error, 2 wrong use, 3 a request is held, 4 not settled at the timeout, "
        "5 refused files or revision.",
        cls=SectionedGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "terminal_width": HELP_WIDTH},
    )
    app.callback()(_root)
    commands = [name for names in SECTIONS.values() for name in names]
    first = arguments[0] if arguments else ""
    for name in (first,) if first in commands else commands:
        module = import_module(f"agent.cli.{_MODULES.get(name, name.replace('-', '_'))}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, _FUNCTIONS.get(name, name.replace("-", "_"))))
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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, as LOG_LEVEL=debug.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log warnings and errors only, and print no progress.")
    ] = False,
) -> None:
    """Declare the options that every command accepts. `agent.cli.main` removes all but the first from the arguments."""
