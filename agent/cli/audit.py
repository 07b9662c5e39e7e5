"""`assure-agent audit`: is the history what was written?"""

from typing import Annotated

import typer

from agent.cli.output import Format, print_json
from agent.core.errors import AgentError
from agent.settings import load_settings

app = typer.Typer(help="Questions of an auditor.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _audit() -> None:
    """Questions of an auditor."""


@app.command("verify")
def verify(
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Check the hash chain of every request, and that its history replays to its record.

    Exit codes: 0 all as it was written, 1 something is not.

    Example: assure-agent audit verify
    """
    from agent.store import audit

    settings = load_settings(state_url=state)
    if not settings.state_path.exists():
        raise AgentError(f"There is no state file at {settings.state_path}.", "check ASSURE_AGENT_STATE_URL")
    verdict = audit.verify(settings.state_path)
    if output is Format.JSON:
        findings = [{"uid": f.uid, "seq": f.seq, "message": f.what} for f in verdict.findings]
        print_json({"ok": not findings, "requests": verdict.requests, "events": verdict.events, "findings": findings})
    else:
        for finding in verdict.findings:
            typer.echo(f"request {finding.uid}, event {finding.seq}: {finding.what}")
        fine = "not what was written" if verdict.findings else "ok"
        typer.echo(f"{verdict.events} events of {verdict.requests} requests: {fine}")
    if verdict.findings:
        raise typer.Exit(1)
