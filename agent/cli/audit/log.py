"""`assure-agent audit log`: show every event of one request."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from agent.cli.options import AuditedName, OutputOption, StateUrlOption
from agent.cli.output import Format, print_json, print_table
from agent.cli.state_file import existing_store
from agent.core.duration import format_duration
from agent.core.timestamps import format_optional_timestamp
from agent.views.event_sentences import spaced

if TYPE_CHECKING:
    from agent.store.audit.request_log import LoggedAnswer


def log(
    name: AuditedName,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show every event of a request with the changed fields.

    Also shows the time, the observation and Assure's answer. Read-only. `logs` shows the same in plain words. `audit
    verify` checks the events.

    Exit codes: 0 shown, 1 unknown request.

    Example: assure-agent audit log customer-4711
    """
    from agent.cli.event_log import event_json, requests_named
    from agent.store.audit.event_reader import request_events

    with requests_named(existing_store(state_url), [name]) as (audit, found):
        logs = [(subject, list(request_events(audit, subject.uid))) for subject in found]
    if output is Format.JSON:
        print_json(
            {
                "items": [
                    {"name": s.name, "uid": s.uid, "events": [event_json(e) for e in entries]} for s, entries in logs
                ]
            }
        )
        return
    for subject, entries in logs:
        typer.echo(f"{subject.name or 'a request whose name was forgotten'}, uid {subject.uid}")
        rows = [
            [str(e.seq), format_optional_timestamp(e.at) or "", spaced(e.type), _reply(e.reply), _changed(e.changes)]
            for e in entries
        ]
        print_table(("seq", "time", "observed", "answer", "changed"), rows)


def _reply(reply: "LoggedAnswer | None") -> str:
    if reply is None:
        return "-"
    said = [str(reply.status)] if reply.status is not None else []
    said += [reply.trouble] if reply.trouble else []
    said += [f"trace {reply.trace_id}"] if reply.trace_id else []
    said += [f"({reply.words})"] if reply.words else []
    return " ".join([f"{reply.number} {reply.result}", *said])


def _changed(changes: Mapping[str, Any]) -> str:
    """The changed fields for people: phase and outcome first."""
    first = ("phase", "outcome")
    keys = sorted(changes, key=lambda key: (first.index(key) if key in first else len(first), key))
    return ", ".join(filter(None, (_format_field(key, changes[key]) for key in keys))) or "-"


def _format_field(key: str, value: Any) -> str:
    if value is None:
        return f"{key} removed" if key != "intent" else ""
    if key in _FORMATTERS:
        return _FORMATTERS[key](value)
    if key.endswith(("At", "Until")):
        return f"{key} {format_optional_timestamp(value)}"
    return key if value is True else f"{key} {value}"


def _checks(value: list[tuple[str, bool]]) -> str:
    failed = [name for name, passed in value if not passed]
    return f"checks: {len(value) - len(failed)} passed" + (f", not passed: {' '.join(failed)}" if failed else "")


_FORMATTERS: dict[str, Callable[[Any], str]] = {
    "intent": lambda intent: f"requests {intent['effect']} (call {intent['number']})",
    "hold": lambda hold: " ".join(filter(None, (f"held {hold['id']}: {hold['reason']}", hold["evidence"]))),
    "checks": _checks,
    "reasons": lambda reasons: ", ".join(f"reason {'/'.join(filter(None, reason))}" for reason in reasons),
    "deadline": lambda seconds: f"deadline {format_duration(seconds)}",
    "retention": lambda seconds: f"retention {format_duration(seconds)}",
    "originDigests": lambda digests: ", ".join(f"originDigest of generation {one} {digests[one]}" for one in digests),
}
