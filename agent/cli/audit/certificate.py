"""`assure-agent audit certificate`: the statement of deletion of a request, with its evidence."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent import __version__
from agent.cli.output import Format, print_json
from agent.cli.state_file import state_file
from agent.core.timestamps import format_optional_timestamp
from agent.platform.clock import SystemClock
from agent.store.account_binding import SIMULATED
from agent.views.explain import count_of

if TYPE_CHECKING:
    from agent.store.audit.deletion_certificate import Certificate
    from agent.store.audit.request_log import LoggedAnswer


def certificate(
    name: Annotated[str, typer.Argument(help="The name of the request, or its uid; a forgotten name works too.")],
    output: Annotated[Format, typer.Option("--output", "-o", help="table (a text) or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """State that nothing of a request is left at Assure, with the evidence: calls, answers, events and their hashes.

    The request's history is verified first. There is no statement while a dossier is not confirmed to be gone.
    Exit codes: 0 stated, 1 no such request, not gone yet, or its history is not what was written.

    Example: assure-agent audit certificate customer-4711
    """
    from agent.store.audit.deletion_certificate import certificates

    now = SystemClock().now()
    made = certificates(state_file(state), name)
    if output is Format.JSON:
        print_json({"items": [_item(one, now) for one in made]})
        return
    for one in made:
        typer.echo("\n".join(_text(one, now)))


def _text(one: "Certificate", now: float) -> Iterator[str]:
    called = one.name or "(its name was forgotten)"
    yield "Statement of deletion"
    if one.simulated:
        yield SIMULATED
    yield ""
    issued = format_optional_timestamp(now)
    yield f"Issued {issued} by assure-agent {__version__}, for the Assure account {one.account}."
    yield f"Request {called}, uid {one.uid}, {count_of(one.generations, 'generation')}."
    yield f"Its last outcome is {one.outcome}. Nothing of it is left at Assure, as far as Assure tells us."
    if not one.dossiers and not one.orphans:
        yield "No dossier was ever created for it."
    for dossier in one.dossiers:
        yield ""
        yield f"Dossier {dossier.dossier_id} (generation {dossier.generation})"
        yield f"  created        {format_optional_timestamp(dossier.created.at)}  event {dossier.created.event}"
        if dossier.due_at is not None:
            yield f"  deletion due   {format_optional_timestamp(dossier.due_at)}"
        for at, reply in dossier.deletions:
            trace = f", trace id {reply.trace_id}" if reply.trace_id else ""
            yield f"  deletion       {format_optional_timestamp(at)}  call {reply.number}: {_answer(reply)}{trace}"
        confirmed = dossier.confirmed
        at_time = format_optional_timestamp(confirmed.at)
        yield f"  confirmed gone {at_time}  event {confirmed.event}: a read was answered 404"
        yield f"                 hash {confirmed.hash}"
    for reference, dossier_id, closed_at in one.orphans:
        yield ""
        yield f"Reference {reference}: the answer to a creation was lost."
        closed = format_optional_timestamp(closed_at)
        if dossier_id is None:
            yield f"  The agent searched for it until {closed} and did not find it."
        else:
            yield f"  Dossier {dossier_id} was found, deleted, and read as 404 at {closed}."
    yield ""
    yield f"Evidence: {one.events} events, an unbroken chain that was verified now; the last hash is {one.head}."
    if one.checkpoint is not None:
        yield f"Checkpoint {one.checkpoint.number} of {one.checkpoint.at} covers it (hash {one.checkpoint.hash})."
    else:
        yield "No checkpoint covers it yet; the agent writes one every five minutes, and when it ends."
    yield "Whether the checkpoints hold: `assure-agent audit verify`. The events: `assure-agent audit log`."


def _answer(reply: "LoggedAnswer") -> str:
    return f"{reply.result}, HTTP {reply.status}" if reply.status is not None else f"{reply.result}, {reply.trouble}"


def _item(one: "Certificate", now: float) -> dict[str, Any]:
    point = one.checkpoint
    return {
        "issuedAt": format_optional_timestamp(now),
        "agent": __version__,
        "account": one.account,
        "simulated": SIMULATED if one.simulated else None,
        "uid": one.uid,
        "name": one.name,
        "generations": one.generations,
        "outcome": one.outcome,
        "dossiers": [
            {
                "dossierId": dossier.dossier_id,
                "generation": dossier.generation,
                "created": {"at": format_optional_timestamp(dossier.created.at), "event": dossier.created.event},
                "deletionDue": format_optional_timestamp(dossier.due_at),
                "deletions": [
                    {
                        "at": format_optional_timestamp(at),
                        "call": reply.number,
                        "result": reply.result,
                        "status": reply.status,
                        "trouble": reply.trouble,
                        "traceId": reply.trace_id or None,
                    }
                    for at, reply in dossier.deletions
                ],
                "confirmedGone": {
                    "at": format_optional_timestamp(dossier.confirmed.at),
                    "event": dossier.confirmed.event,
                    "hash": dossier.confirmed.hash,
                },
            }
            for dossier in one.dossiers
        ],
        "possibleOrphans": [
            {"reference": reference, "dossierId": dossier_id, "closed": format_optional_timestamp(closed_at)}
            for reference, dossier_id, closed_at in one.orphans
        ],
        "events": one.events,
        "head": one.head,
        "checkpoint": None if point is None else {"number": point.number, "at": point.at, "hash": point.hash},
    }
