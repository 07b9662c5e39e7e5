"""`assure-agent get`: what is known of the requests."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent.cli.output import Format, print_json, print_table
from agent.cli.state_file import store_settings
from agent.core.errors import AgentError
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.diagnostics import format_location
from agent.store.readonly import ReadOnlyStore
from agent.store.request_queries import Refusal
from agent.views.resource import request_json


def get(
    name: Annotated[str | None, typer.Argument(help="The name of one request; all when left out.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Print the capture link of NAME: a bearer secret.")] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Show requests, and documents that were refused at the last scan.

    Works while the agent runs and when it does not. Exit codes: 0 fine, 1 no such request, or no link to hand out.

    Example: assure-agent get customer-4711 -o json
    """
    settings = store_settings(state)
    if link:
        _print_link(settings, name, output)
        return
    records, refusals, notes = _find(settings, name)
    if name is not None and not records and not refusals:
        raise AgentError(f"There is no request named {name}.", "see all of them with `assure-agent get`")
    if output is Format.JSON:
        print_json({"items": [request_json(record) for record in records], "refused": [_refusals(r) for r in refusals]})
    else:
        _print_tables(records, refusals, notes)


def rows(records: list[Record]) -> list[list[str]]:
    """The table of requests: name, mode, phase, state, outcome, why it is held."""
    return [
        [
            record.name,
            record.desired.mode,
            record.phase.value,
            record.state,
            record.outcome.value if record.outcome else "-",
            f"{record.hold.reason} ({record.hold.id})" if record.hold else "budget" if record.queued else "-",
        ]
        for record in records
    ]


_MAX_NOTES = 3  # lost links that are listed one by one
COLUMNS = ("name", "mode", "phase", "state", "outcome", "reason")


def _find(settings: Settings, name: str | None) -> tuple[list[Record], list[Refusal], list[str]]:
    if not settings.state_path.exists():
        return [], [], []
    with ReadOnlyStore(settings.state_path) as reading:
        reading.freeze()
        records = reading.find(name) if name is not None else list(reading.all())
        refusals = reading.refusals() if name is None else reading.refused(name)
        return records, refusals, list(_notes(reading, records))


def _notes(reading: ReadOnlyStore, records: list[Record]) -> Iterator[str]:
    """Notes on requests that wait for the operator and are not held."""
    from agent.views.explain import LINK_LOST, count_withdrawals, new_link_command

    if reading.recall_time(MetaKey.PAUSED) is not None:
        yield "The agent is paused: nothing new is begun. Try: `assure-agent resume`."
    if waiting := reading.waiting_withdrawals():
        yield f"{count_withdrawals(waiting)} for approval. Try: put the files back, or `assure-agent approve`."
    names = {record.name for record in records}
    lost = [record.name for record in records if reading.has_lost_link(record)]
    for name in lost[:_MAX_NOTES]:
        yield f"{name}: {LINK_LOST} Try: {new_link_command(name)}."
    if more := len(lost[_MAX_NOTES:]):
        yield f"{more:,} other capture links are lost as well. Try: `assure-agent get NAME --link` tells of each."
    for name in reading.strays():
        if name in names:
            yield (
                f"ignored: {name}: its `assure-agent/resolve` answers no open hold. Try: `assure-agent explain {name}`."
            )


def _refusals(refusal: Refusal) -> dict[str, Any]:
    return {
        "file": refusal.file,
        "line": refusal.line,
        "column": refusal.column,
        "message": refusal.message,
        "hint": refusal.hint,
    }


def sentence(refusal: Refusal) -> str:
    """Where a document was refused, why, and what to do."""
    place = format_location(refusal.file, refusal.line, refusal.column, refusal.message)
    return f"{place}. Try: {refusal.hint}."


def _print_tables(records: list[Record], refusals: list[Refusal], notes: list[str]) -> None:
    if records:
        print_table(COLUMNS, rows(records))
    for refusal in refusals:
        typer.echo(f"refused: {sentence(refusal)}")
    for note in notes:
        typer.echo(note)
    if not records and not refusals:
        typer.echo("No requests yet. Try: put request files into the specs folder and start `assure-agent run`.")


def _print_link(settings: Settings, name: str | None, output: Format) -> None:
    if name is None:
        raise typer.BadParameter("--link needs the NAME of one request.")
    if settings.state_path.exists():
        with ReadOnlyStore(settings.state_path) as reading:
            reading.freeze()
            records = reading.find(name)
            for record in records:
                if (found := reading.link(record.uid)) is not None:
                    if output is Format.JSON:
                        print_json({"link": found})
                    else:
                        typer.echo(found)
                    return
            if any(map(reading.has_lost_link, records)):
                from agent.views.explain import LINK_LOST, new_link_command

                raise AgentError(f"{name}: {LINK_LOST}", new_link_command(name))
            if records:
                raise AgentError(
                    f"There is no capture link for {name} now.",
                    f"see where it is with `assure-agent get {name}`: a link exists from the start of the capture flow "
                    "until its end",
                )
    raise AgentError(f"There is no request named {name}.", "see all of them with `assure-agent get`")
