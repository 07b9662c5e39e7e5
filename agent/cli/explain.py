"""`assure-agent explain`: show the state of a request, its reasons, and the next step."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import typer

from agent.cli.get import sentence
from agent.cli.options import OutputOption, RequestName, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.state_file import store_settings
from agent.core.record import Origin, Record
from agent.core.retry import holds_new_work
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.ports.store import Attempt
from agent.store import open_reading, running_agent, store_exists
from agent.store.nearest_names import unknown_request
from agent.store.read_results import HistoryEntry, Refusal
from agent.store.reading.reading import Reading
from agent.views.explain import RequestContext, describe_attempt
from agent.views.explain_json import explanation_json
from agent.views.origin import origin_json, origin_sentence
from agent.views.phrases import relative_time
from agent.views.resource import fault_json

_MAX_ATTEMPTS = 20  # attempts that are shown


def explain(name: RequestName, output: OutputOption = Format.TABLE, state_url: StateUrlOption = None) -> None:
    """Explain the state, the calls and the next step of a request.

    It also shows the options of the operator. Read-only; works whether or not an agent is running.

    Exit codes: 0 shown, 1 unknown request.

    Example: assure-agent explain customer-4711
    """
    settings = store_settings(state_url)
    found, refusals = find_requests(settings, name)
    if not found and not refusals:
        raise unknown_request(settings, name)
    items = [
        explanation_json(one.record, one.attempts, one.now, settings.policy, one.context)
        | {"origin": origin_json(one.record, one.origin)}
        for one in found
    ]
    if output is Format.JSON:
        refused = [{**fault_json(refusal), "name": refusal.name} for refusal in refusals]
        print_json({"items": items, "refused": refused})
        return
    for one, item in zip(found, items, strict=True):
        _print(item, one.attempts, one.now)
    for refusal in refusals:
        typer.echo(f"The agent refused its file at the last scan: {sentence(refusal)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRequest:
    """A request as one snapshot of the store has it, with its last calls and events, oldest first."""

    record: Record
    attempts: list[Attempt]
    events: list[HistoryEntry]
    context: RequestContext
    origin: Origin | None
    now: float


def find_requests(settings: Settings, name: str, most_events: int = 0) -> tuple[list[FoundRequest], list[Refusal]]:
    """The requests of this name, and the refusals of its file at the last scan."""
    from agent.platform.clock import SystemClock

    if not store_exists(settings):
        return [], []
    now = SystemClock().now()
    runs = running_agent(settings) is not None  # without an agent, no circuit breaker is open
    with open_reading(settings) as reading:
        reading.freeze()
        # The recovery is read before the records: a running agent may end it at any moment.
        context = partial(_context, reading, reading.recovery(), runs)
        found = [
            FoundRequest(
                record=record,
                attempts=reading.attempts(record.uid, _MAX_ATTEMPTS),
                events=reading.history(record.uid, most_events),
                context=context(record),
                origin=reading.origin(record.uid, record.generation),
                now=now,
            )
            for record in reading.find(name)
        ]
        return found, reading.refused(name)


def _context(reading: Reading, recovery: tuple[str, bool, bool] | None, runs: bool, record: Record) -> RequestContext:
    from agent.platform.endpoint_health import from_json

    why, _, approved = recovery or ("", False, False)
    recovering = bool(why) and not approved
    return RequestContext(
        paused_since=reading.recall_time(MetaKey.PAUSED),
        recovering=recovering,
        gated=recovering and holds_new_work(why),
        circuit=(reading.recall(MetaKey.CIRCUIT) or "") if runs else "",
        troubles=tuple(
            f"Calls to {name} fail: {sentence}."
            for name, _, sentence in from_json(reading.recall(MetaKey.ENDPOINTS))
            if runs
        ),
        link_lost=reading.has_lost_link(record),
        waiting_withdrawals=reading.waiting_withdrawals(),
        scan_notes=tuple(reading.scan_notes(record.uid)),
        failed_deletion=reading.failed_image_deletion_of(record.uid),
    )


def _print(item: dict[str, Any], attempts: list[Attempt], now: float) -> None:
    typer.echo(" ".join(item["where"]))
    if (origin := origin_sentence(item["origin"])) is not None:
        typer.echo(f"Origin: {origin}.")
    if attempts:
        typer.echo("\nCalls to Assure:")
    for attempt in attempts:
        typer.echo(f"  {attempt.number}. {relative_time(attempt.intended_at, now)}: {describe_attempt(attempt)}")
    typer.echo(f"\nNext step: {item['next']['sentence']}")
    _print_what_if(item)
    print_hold(item)


def print_hold(item: dict[str, Any]) -> None:
    """Print the hold of an explanation, and how to resolve it."""
    if (hold := item["hold"]) is not None:
        evidence = f" Evidence: {hold['evidence']}." if hold["evidence"] else ""
        typer.echo(f"\nHold {hold['id']} ({hold['reason']}): {hold['meaning']}{evidence} {hold['remedy']}")
        typer.echo("Resolve it with one of these commands:")
        for command in hold["commands"]:
            typer.echo(f"  {command}")
        typer.echo(f"or through git, with this annotation in the file:\n  {hold['annotation']}")


def _print_what_if(item: dict[str, Any]) -> None:
    if item["withdrawalWaits"]:
        typer.echo(f"If you approve the withdrawals: {item['ifRemoved']['sentence']}.")
        typer.echo("If you restore the unchanged file: the request continues, and the agent starts nothing again.")
        return
    typer.echo(f"If you changed its file now: {item['ifChanged']['sentence']}.")
    if item["ifRemoved"] is not None:
        typer.echo(f"If you removed its file now: {item['ifRemoved']['sentence']}.")
