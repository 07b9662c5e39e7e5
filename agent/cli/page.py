"""`assure-agent page`: print a link to the status page of the running agent."""

import typer

from agent.cli.agent_client import send_to_running_agent
from agent.cli.options import StateUrlOption
from agent.cli.state_file import store_settings


def page(state_url: StateUrlOption = None) -> None:
    """Print a link to the status page of the running agent.

    The link opens the page in a browser on this machine. It is a secret: it works once, within ten minutes. The browser
    then stays logged in for twelve hours, or until the agent restarts. From another machine, log in with API_TOKEN, or
    forward the port (ssh -L).

    Exit codes: 0 printed, 1 no agent is running.

    Example: assure-agent page
    """
    typer.echo(send_to_running_agent(store_settings(state_url), "page"))
