"""`assure-agent pause` and `resume`: begin nothing new for a while."""

from typing import Annotated

import typer

from agent.cli.agent_client import tell

State = Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")]


def pause(state: State = None) -> None:
    """Begin nothing new. What runs at Assure is observed to its end and deleted. Holds until `resume`.

    Exit codes: 0 paused, 1 error.

    Example: assure-agent pause
    """
    tell("pause", state)


def resume(state: State = None) -> None:
    """Go on after `pause`; and where the circuit is open because dossiers are missing that are gone indeed.

    Exit codes: 0 resumed, 1 error.

    Example: assure-agent resume
    """
    tell("resume", state)
