"""`assure-agent resolve`: answer the question of a held request."""

from typing import Annotated

import typer

from agent.cli.agent_client import run_command
from agent.core.record import HoldAnswer


def resolve(
    name: Annotated[str, typer.Argument(help="The name of the held request.")],
    answer: Annotated[HoldAnswer, typer.Argument(help="retry, abandon, or adopt.")],
    dossier: Annotated[str | None, typer.Argument(help="With adopt: the id of the dossier at Assure.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Answer a hold: retry goes on (for a changed document: verifies it), abandon gives it up.

    Whatever was held, an abandoned request ends with its dossier deleted. Where a changed document is the question, it
    is left to a later `rerun`; an outcome that was there before the change stands.

    Exit codes: 0 obeyed, 1 not held or no such request.

    Example: assure-agent resolve customer-4711 retry
    """
    if (answer is HoldAnswer.ADOPT) != (dossier is not None):
        raise typer.BadParameter("adopt needs the id of a dossier, and nothing else does.")
    run_command("resolve", state, name=name, answer=answer.value, dossierId=dossier)
