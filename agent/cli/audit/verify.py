"""`assure-agent audit verify`: verify the audit log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import OutputOption, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.state_file import existing_store
from agent.core.errors import AgentError
from agent.store import open_audit
from agent.views.phrases import count_of

if TYPE_CHECKING:
    from agent.store.audit.report import AuditReport


def verify(
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="A copy of the checkpoints from another machine.")
    ] = None,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Verify that the audit log is as the agent wrote it.

    The command finds events that were changed, removed, inserted or moved.
    For each request, the command verifies the chain of hashes, replays the events against the record, and compares the
    calls, starts, name, labels and origins. It also verifies the chain of the operator's commands. It compares all
    events with the checkpoints next to the state file (with a database, in STATE_DIR), or with a copy of them.
    Findings are in the order of writing.
    The command reads every event, at about a million per minute.

    Exit codes: 0 the audit log is unchanged, 1 findings.

    Example: assure-agent audit verify
    """
    from agent.store.audit.verify import verify as verify_audit

    settings = existing_store(state_url)
    if checkpoints is not None and not checkpoints.exists():
        raise AgentError(f"There is no file {checkpoints}.", "give a copy of the file agent.checkpoints.jsonl")
    with open_audit(settings) as audit:
        report = verify_audit(audit, checkpoints)
    if output is Format.JSON:
        print_json(_report_json(report))
    else:
        _print(report)
    if report.findings:
        raise typer.Exit(1)


def _report_json(report: "AuditReport") -> dict[str, Any]:
    findings = [
        {"event": one.event, "uid": one.uid, "seq": one.seq, "message": one.what}
        | ({"command": one.command} if one.command is not None else {})
        for one in report.findings
    ]
    return {
        "ok": not findings,
        "requests": report.requests,
        "events": report.events,
        "commands": report.commands,
        "checkpoints": {"count": report.checkpoints, "covered": report.covered, "last": report.last},
        "findings": findings,
        "notices": list(report.notices),
    }


def _print(report: "AuditReport") -> None:
    for finding in report.findings:
        typer.echo(f"{finding.where}: {finding.what}")
    for notice in report.notices:
        typer.echo(f"note: {notice}")
    if report.last is None:
        typer.echo("no checkpoints yet: a truncated or completely rewritten audit log cannot be detected")
    else:
        typer.echo(f"checkpoint {report.checkpoints} of {report.last} covers {report.covered} events")
    if report.commands:
        typer.echo(f"the chain of the operator's commands has {count_of(report.commands, 'command')}")
    result = "not as written" if report.findings else "ok"
    typer.echo(f"{count_of(report.events, 'event')} of {count_of(report.requests, 'request')}: {result}")
