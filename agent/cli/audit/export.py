"""`assure-agent audit export`: write the audit log as JSON Lines, for verification on another machine."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name
from agent.cli.state_file import existing_store
from agent.core.errors import AgentError
from agent.platform.clock import SystemClock
from agent.platform.settings import Settings
from agent.store import open_audit

if TYPE_CHECKING:
    from agent.store.audit.connection import AuditConnection


def export(
    name: Annotated[
        str | None,
        typer.Argument(help="Name or uid of one request. Default: all requests.", autocompletion=complete_request_name),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write, which must not exist. Default: stdout.")
    ] = None,
    script: Annotated[
        bool, typer.Option("--script", help="Print the script that verifies an export. It needs only Python.")
    ] = False,
    state_url: StateUrlOption = None,
) -> None:
    """Write all events with their hashes as JSON Lines.

    The export also has the checkpoints, but no names, labels, paths or links. It is a snapshot of the store, even while
    an agent is running. To verify it on any machine without the agent: `assure-agent audit export --script >
    verify_export.py`, then `python3 verify_export.py FILE`.

    Exit codes: 0 written, 1 unknown request, or the file cannot be written.

    Example: assure-agent audit export --to history.jsonl
    """
    from agent.store.audit.export import export_lines, verifier

    if script:
        if name is not None:
            raise typer.BadParameter("expected NAME or --script, not both.")
        _write([verifier().encode()], to)
        return
    settings = existing_store(state_url)
    with open_audit(settings) as audit:
        uid = _uid_of(settings, audit, name) if name is not None else None
        lines = export_lines(audit, SystemClock().now(), uid)
        _write((orjson.dumps(line) + b"\n" for line in lines), to)


def _uid_of(settings: Settings, audit: "AuditConnection", name: str) -> str:
    from agent.store.audit.event_reader import subjects
    from agent.store.nearest_names import unknown_request

    found = subjects(audit, name, audit.existing_keys())
    if not found:
        raise unknown_request(settings, name, audit=True)
    if len(found) > 1:
        uids = ", ".join(subject.uid for subject in found)
        raise AgentError(f"Several sources have a request named {name}.", f"export one of them by its uid: {uids}")
    return found[0].uid


def _write(written: Iterable[bytes], to: Path | None) -> None:
    if to is None:
        sys.stdout.buffer.writelines(written)
        return
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(written)
    except OSError as error:
        raise AgentError(f"{to} cannot be written: {error.strerror}.", "name a file that does not exist yet") from None
