"""`assure-agent get`: list requests."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from agent.cli.options import StateUrlOption
from agent.cli.output import print_error, print_table
from agent.cli.output_formats import DocumentPrinter, ListFormat, ListOutputOption, parse_format
from agent.cli.request_names import complete_request_name
from agent.cli.request_table import COLUMNS, WIDE_COLUMNS, check_column, complete_column, in_order, rows
from agent.cli.selectors import (
    OutcomeOption,
    PhaseOption,
    ReasonOption,
    Selection,
    SelectorOption,
    StateOption,
)
from agent.cli.state_file import sandbox_settings, store_settings
from agent.core.errors import AgentError
from agent.core.record import HoldReason, Record
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.diagnostics import format_location
from agent.store import open_reading, store_exists
from agent.store.nearest_names import unknown_request
from agent.store.read_results import Refusal
from agent.store.reading.reading import Reading
from agent.views.resource import FIELDS, fault_json, request_json


def get(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of requests. Default: all requests.",
            metavar="NAME",
            autocompletion=complete_request_name,
        ),
    ] = None,
    selector: SelectorOption = None,
    phase: PhaseOption = None,
    state: StateOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    sort_by: Annotated[
        str, typer.Option("--sort-by", metavar="COLUMN", help="Column to sort by.", autocompletion=complete_column)
    ] = "name",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Show at most so many requests.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Then print each change on a line, until Ctrl-C.")
    ] = False,
    link: Annotated[bool, typer.Option("--link", help="Print the capture link of NAME. It is a secret.")] = False,
    output: ListOutputOption = ListFormat.TABLE.value,
    state_url: StateUrlOption = None,
) -> None:
    """Show requests, and the documents that the agent refused.

    The refused documents are those of the last scan. Works whether or not an agent is running. In a template for
    jsonpath, a list is in `.items`; with --watch, a template is applied to each request.

    Exit codes: 0 shown, 1 unknown request, or a request without a capture link, 2 wrong use.

    Example: assure-agent get -l team=onboarding --state held --sort-by age -o wide
    """
    selection = Selection.parse(selector, phase, state, outcome, reason)
    check_column(sort_by)
    chosen, template = parse_format(output)
    printer = None if chosen.for_people else DocumentPrinter(chosen, template, FIELDS)
    query = _Query(names=tuple(names or ()), selection=selection, sort_by=sort_by, limit=limit)
    settings = store_settings(state_url)
    if link and (watch or len(query.names) != 1):
        raise typer.BadParameter("--link needs the NAME of one request, and does not watch it.")
    if link:
        _print_link(settings, query.names[0], printer if chosen.has_structure else None)
    elif watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(settings, query, printer, wide=chosen is ListFormat.WIDE)
    else:
        _list(settings, query, printer, wide=chosen is ListFormat.WIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """The requests that the operator asks for. Without names: all requests."""

    names: tuple[str, ...]
    selection: Selection
    sort_by: str
    limit: int | None

    def accepts(self, record: Record) -> bool:
        """True if the request has one of the names (or uids), and belongs to the selection."""
        named = not self.names or record.name in self.names or record.uid in self.names
        return named and self.selection.matches(record)

    def arrange(self, records: Sequence[Record]) -> list[Record]:
        """The requests in their order, at most `limit` of them. The number of the others is printed on stderr."""
        ordered = in_order(records, self.sort_by)
        if self.limit is None or len(ordered) <= self.limit:
            return ordered
        left = len(ordered) - self.limit
        typer.echo(f"{left:,} more not shown, because of --limit {self.limit}.", err=True)
        return ordered[: self.limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The requests, the refused documents and the notes of a query, and the names that the store does not have."""

    records: list[Record]
    refusals: list[Refusal]
    notes: list[str]
    unknown: list[str]


_MAX_NOTES = 3  # lost capture links that are listed one by one


def _find(settings: Settings, query: _Query) -> _Found:
    if not store_exists(settings):
        return _Found(records=[], refusals=[], notes=[], unknown=list(query.names))
    with open_reading(settings) as reading:
        reading.freeze()
        records = _named(reading, query.names) if query.names else reading.all()
        accepted = [record for record in records if query.selection.matches(record)]
        refusals = [] if query.selection else reading.refusals()
        if query.names:
            refusals = [refusal for refusal in refusals if refusal.name in query.names]
        unknown = list(_unknown(reading, query.names))
        notes = [*_source_notes(reading, settings.source_name), *_notes(reading, accepted)]
        return _Found(records=accepted, refusals=refusals, notes=notes, unknown=unknown)


def _named(reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """The requests of these names or uids, each once."""
    found = {record.uid: record for name in names for record in reading.find(name)}
    yield from found.values()


def _unknown(reading: Reading, names: Sequence[str]) -> Iterator[str]:
    """The names that neither a request nor a refused document has."""
    for name in names:
        if not reading.find(name) and not reading.refused(name):
            yield name


def _list(settings: Settings, query: _Query, printer: DocumentPrinter | None, wide: bool) -> None:
    found = _find(settings, query)
    records = query.arrange(found.records)
    if not query.names or len(found.unknown) < len(query.names):
        if printer is None:
            _print_tables(records, found, wide, selective=bool(query.names or query.selection))
        else:
            items = [request_json(record) for record in records]
            printer.print_list({"items": items, "refused": [fault_json(one) for one in found.refusals]})
        sys.stdout.flush()
    for name in found.unknown[1:]:
        print_error(unknown_request(settings, name))
    if found.unknown:
        raise unknown_request(settings, found.unknown[0])


def _watch(settings: Settings, query: _Query, printer: DocumentPrinter | None, wide: bool) -> None:
    """Print the requests and their changes. Only a store that exists decides that a name is unknown."""
    from agent.cli.get_watch import ChangedDocuments, ChangedRows, print_changes

    if store_exists(settings):
        with open_reading(settings) as reading:
            unknown = next(_unknown(reading, query.names), None)
        if unknown is not None:
            raise unknown_request(settings, unknown)
    shown = ChangedRows(wide) if printer is None else ChangedDocuments(printer)
    print_changes((settings, sandbox_settings(settings)), shown, query.accepts, query.arrange)


def _source_notes(reading: Reading, source: str) -> Iterator[str]:
    """Notes on a git source of which the agent does not act on the newest revision."""
    from agent.views.revisions import troubles, with_hint

    for sentence, hint in troubles(reading.revision_state(source)):
        yield with_hint(sentence, hint)


def _notes(reading: Reading, records: list[Record]) -> Iterator[str]:
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
    held = [(record.name, record.hold) for record in records if record.hold is not None]
    refused = [(name, hold.evidence) for name, hold in held if hold.reason is HoldReason.REFUSED]
    for name, evidence in refused[:_MAX_NOTES]:
        yield f"{name}: Assure refused a call ({evidence}). Try: `assure-agent explain {name}`."
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


def _print_tables(records: list[Record], found: _Found, wide: bool, selective: bool) -> None:
    if records:
        print_table(WIDE_COLUMNS if wide else COLUMNS, rows(records, wide))
    for refusal in found.refusals:
        typer.echo(f"refused: {sentence(refusal)}")
    for note in found.notes:
        typer.echo(note)
    if selective and not records and not found.refusals:
        typer.echo("No request matches.", err=True)
    elif not records and not found.refusals:
        typer.echo(
            "No requests yet. Try: write request files to the folder SPECS_DIR, or push them to SOURCE_URL, and start "
            "`assure-agent run`."
        )


def _print_link(settings: Settings, name: str, printer: DocumentPrinter | None) -> None:
    if store_exists(settings):
        with open_reading(settings) as reading:
            reading.freeze()
            records = reading.find(name)
            for record in records:
                if (found := reading.link(record.uid)) is not None:
                    if printer is None:
                        typer.echo(found)
                    else:
                        printer.print_document({"link": found})
                    return
            if any(map(reading.has_lost_link, records)):
                from agent.views.phrases import LINK_LOST, new_link_command

                raise AgentError(f"{name}: {LINK_LOST}", new_link_command(name))
            if records:
                raise AgentError(
                    f"{name} has no capture link now.",
                    f"see its phase with `assure-agent get {name}`; a link exists while its capture flow is open",
                )
    raise unknown_request(settings, name)
