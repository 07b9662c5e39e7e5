"""`assure-agent rerun`: a fresh verification."""

from typing import Annotated

import typer

from agent.cli.agent_client import tell


def rerun(
    name: Annotated[str, typer.Argument(help="The name of the request.")],
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Verify once more, with the document and the images as they are now. It is billed again.

    Exit codes: 0 asked for, 1 no such request, or its document is not good.

    Example: assure-agent rerun customer-4711
    """
    tell("rerun", state, name=name)
