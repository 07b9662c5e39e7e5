"""`assure-agent audit verify`: is the history what was written?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.output import Format, print_json
from agent.cli.state_file import state_file
from agent.core.errors import AgentError
from agent.views.explain import counted

if TYPE_CHECKING:
    from agent.store import audit


def verify(
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="A copy of the file of checkpoints that was kept elsewhere.")
    ] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Check that the history is what was written: nothing changed, removed, inserted, moved or cut off.

    Each request's chain, its replay against the record, its calls and starts; its name, labels and authors; the chain
    of people's commands; and all events against the checkpoints beside the state file (and against a copy of them).
    The first finding is the first in the order of writing. Reads every event: about a minute for a million.
    Exit codes: 0 all as it was written, 1 something is not.

    Example: assure-agent audit verify
    """
    from agent.store import audit

    path = state_file(state)
    if checkpoints is not None and not checkpoints.exists():
        raise AgentError(f"There is no file {checkpoints}.", "give a copy of the file agent.checkpoints.jsonl")
    verdict = audit.verify(path, checkpoints)
    if output is Format.JSON:
        findings = [
            {"event": f.event, "uid": f.uid, "seq": f.seq, "message": f.what}
            | ({"command": f.command} if f.command is not None else {})
            for f in verdict.findings
        ]
        print_json(
            {
                "ok": not findings,
                "requests": verdict.requests,
                "events": verdict.events,
                "commands": verdict.commands,
                "checkpoints": {"count": verdict.checkpoints, "covered": verdict.covered, "last": verdict.last},
                "findings": findings,
                "notices": list(verdict.notices),
            }
        )
    else:
        _print(verdict)
    if verdict.findings:
        raise typer.Exit(1)


def _print(verdict: "audit.Verdict") -> None:
    for finding in verdict.findings:
        typer.echo(f"{finding.where}: {finding.what}")
    for notice in verdict.notices:
        typer.echo(f"note: {notice}")
    if verdict.last is None:
        typer.echo("no checkpoints yet: what was cut off or rewritten as a whole cannot be seen")
    else:
        typer.echo(f"checkpoint {verdict.checkpoints} of {verdict.last} covers {verdict.covered} events")
    if verdict.commands:
        typer.echo(f"the chain of what people told the agent has {verdict.commands} commands")
    fine = "not what was written" if verdict.findings else "ok"
    typer.echo(f"{counted(verdict.events, 'event')} of {counted(verdict.requests, 'request')}: {fine}")
