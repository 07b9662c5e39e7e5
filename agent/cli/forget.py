"""`assure-agent forget`: erase the data that identifies a request."""

from typing import Annotated

import typer

from agent.cli.agent_client import run_command
from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name


def forget(
    name: Annotated[
        str,
        typer.Argument(help="Name of a finished request whose file was removed.", autocompletion=complete_request_name),
    ],
    state_url: StateUrlOption = None,
) -> None:
    """Erase the name, labels, paths and claims of a request. Its audit log remains and can still be verified.

    Exit codes: 0 erased, 1 unknown request, unfinished request, or its file still exists.

    Example: assure-agent forget customer-4711
    """
    run_command("forget", state_url, name=name)
