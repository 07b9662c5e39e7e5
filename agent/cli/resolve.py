"""`assure-agent resolve`: decide a hold."""

from typing import Annotated

import typer

from agent.cli.agent_client import run_command
from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name
from agent.core.record import HoldAnswer


def resolve(
    name: Annotated[str, typer.Argument(help="Name of the held request.", autocompletion=complete_request_name)],
    answer: Annotated[HoldAnswer, typer.Argument(help="retry, abandon, or adopt.")],
    dossier: Annotated[str | None, typer.Argument(help="With adopt: id of the dossier at Assure.")] = None,
    state_url: StateUrlOption = None,
) -> None:
    """Decide a hold: retry continues (and verifies a changed file), abandon gives up, adopt takes an existing dossier.

    The agent deletes the dossier of an abandoned request. If the hold is about a changed file, the change is left to a
    later `rerun`, and an earlier outcome is kept.

    Exit codes: 0 resolved, 1 unknown request, or a request that is not held.

    Example: assure-agent resolve customer-4711 retry
    """
    if (answer is HoldAnswer.ADOPT) != (dossier is not None):
        raise typer.BadParameter("adopt needs the id of a dossier; retry and abandon accept none.")
    run_command("resolve", state_url, name=name, answer=answer.value, dossierId=dossier)
