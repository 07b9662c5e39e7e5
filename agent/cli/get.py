"""`assure-agent get`: list requests."""

from collections.abc import Iterator
from typing import Annotated

import typer

from agent.cli.options import OutputOption, StateUrlOption
from agent.cli.output import Format, print_json, print_table
from agent.cli.state_file import store_settings
from agent.core.errors import AgentError, UnknownRequest
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.diagnostics import format_location
from agent.store.readonly import ReadOnlyStore
from agent.store.request_queries import Refusal
from agent.views.resource import fault_json, request_json


def get(
    name: Annotated[str | None, typer.Argument(help="Name of one request. Default: all requests.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Print the capture link of NAME. It is a secret.")] = False,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show requests, and the documents that the agent refused at the last scan.

    Works whether or not an agent is running.

    Exit codes: 0 shown, 1 unknown request, or a request without a capture link.

    Example: assure-agent get customer-4711 -o json
    """
    settings = store_settings(state_url)
    if link:
        _print_link(settings, name, output)
        return
    records, refusals, notes = _find(settings, name)
    if name is not None and not records and not refusals:
        raise UnknownRequest(name)
    if output is Format.JSON:
        print_json(
            {"items": [request_json(record) for record in records], "refused": [fault_json(one) for one in refusals]}
        )
    else:
        _print_tables(records, refusals, notes)


def rows(records: list[Record]) -> list[list[str]]:
    """The cells of COLUMNS for each request."""
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


_MAX_NOTES = 3  # lost capture links that are listed one by one
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
    """Notes on requests that wait for the operator, although they are not held."""
    from agent.views.phrases import LINK_LOST, count_withdrawals, new_link_command

    if reading.recall_time(MetaKey.PAUSED) is not None:
        yield "The agent is paused and starts nothing new. Try: `assure-agent resume`."
    if waiting := reading.waiting_withdrawals():
        yield f"{count_withdrawals(waiting)} for approval. Try: restore the files, or run `assure-agent approve`."
    names = {record.name for record in records}
    lost = [record.name for record in records if reading.has_lost_link(record)]
    for name in lost[:_MAX_NOTES]:
        yield " ".join((f"{name}: {LINK_LOST}", f"Try: {new_link_command(name)}."))
    if more := len(lost[_MAX_NOTES:]):
        yield f"{more:,} other capture links are lost as well. Try: `assure-agent get NAME --link` for each."
    for name in reading.strays():
        if name in names:
            yield (
                f"ignored: the annotation `assure-agent/resolve` of {name} does not name an open hold. "
                f"Try: `assure-agent explain {name}`."
            )


def sentence(refusal: Refusal) -> str:
    """The position, the cause and the remedy of a refusal."""
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
        typer.echo("No requests yet. Try: write request files to the specs folder, and start `assure-agent run`.")


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
                from agent.views.phrases import LINK_LOST, new_link_command

                raise AgentError(f"{name}: {LINK_LOST}", new_link_command(name))
            if records:
                raise AgentError(
                    f"{name} has no capture link now.",
                    f"see its phase with `assure-agent get {name}`; a link exists while its capture flow is open",
                )
    raise UnknownRequest(name)
