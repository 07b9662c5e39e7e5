"""`assure-agent page`: a link to the status page of the running agent."""

from typing import Annotated

import typer

from agent.cli.agent_client import asked_of_running
from agent.cli.state_file import store_settings


def page(state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None) -> None:
    """Print a link that opens the status page of the running agent in a browser on this machine.

    The link is a secret: it works once, within ten minutes. The browser then stays logged in for twelve hours, or until
    the agent restarts. On another machine, use the API_TOKEN, or forward the port (ssh -L).

    Exit codes: 0 printed, 1 no agent runs.

    Example: assure-agent page
    """
    typer.echo(asked_of_running(store_settings(state), "page"))
