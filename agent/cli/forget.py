"""`assure-agent forget`: erase what identifies a request."""

from typing import Annotated

import typer

from agent.cli.agent_client import tell


def forget(
    name: Annotated[str, typer.Argument(help="The name of a done request whose file is removed.")],
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Erase the name, labels, paths and claims of a request. Its history stays, and stays verifiable.

    Exit codes: 0 erased, 1 no such request, not done, or its file is still there.

    Example: assure-agent forget customer-4711
    """
    tell("forget", state, name=name)
