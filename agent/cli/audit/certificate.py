"""`assure-agent audit certificate`: print the statement of deletion of a request, with its evidence."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent import __version__
from agent.cli.options import AuditedName, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.state_file import existing_store
from agent.core.timestamps import format_optional_timestamp
from agent.platform.clock import SystemClock
from agent.store import open_audit
from agent.store.account_binding import SIMULATED
from agent.store.nearest_names import unknown_request
from agent.views.phrases import count_of
from agent.views.resource import answer_json

if TYPE_CHECKING:
    from agent.store.audit.certificate import Certificate, DeletedDossier
    from agent.store.audit.request_log import LoggedAnswer


def certificate(
    name: AuditedName,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="Output format: table (a text) or json.")
    ] = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """State with evidence that Assure keeps nothing of a request.

    The evidence is calls, answers, events and their hashes. The command first verifies the audit log of the request. It
    prints no statement until Assure has confirmed the deletion of every dossier.

    Exit codes: 0 stated, 1 unknown request, a dossier that may still exist, or a changed audit log.

    Example: assure-agent audit certificate customer-4711
    """
    from agent.store.audit.deletion_certificate import certificates

    now = SystemClock().now()
    settings = existing_store(state_url)
    with open_audit(settings) as audit:
        made = certificates(audit, name)
    if not made:
        raise unknown_request(settings, name, audit=True)
    if output is Format.JSON:
        print_json({"items": [_certificate_json(one, now) for one in made]})
        return
    for one in made:
        typer.echo("\n".join(_text(one, now)))


def _text(one: "Certificate", now: float) -> Iterator[str]:
    called = one.name or "(its name was erased)"
    yield "Statement of deletion"
    if one.simulated:
        yield SIMULATED
    yield ""
    issued = format_optional_timestamp(now)
    yield f"Issued {issued} by assure-agent {__version__}, for the Assure account {one.account}."
    yield f"Request {called}, uid {one.uid}, {count_of(one.generations, 'generation')}."
    yield f"Its last outcome is {one.outcome}. According to Assure's answers, Assure keeps nothing of it."
    for asked in one.signed:
        yield f"Commit {asked.file_commit}, signed by {asked.signer}, requested generation {asked.generation}."
    if not one.dossiers and not one.orphans:
        yield "The agent created no dossier for it."
    for dossier in one.dossiers:
        yield from _dossier_text(dossier)
    for reference, dossier_id, closed_at in one.orphans:
        yield ""
        yield f"Reference {reference}: the answer to a create call was lost."
        closed = format_optional_timestamp(closed_at)
        if dossier_id is None:
            yield f"  The agent searched for the dossier until {closed} and did not find it."
        else:
            yield f"  The agent found and deleted dossier {dossier_id}. A read was answered 404 at {closed}."
    yield ""
    yield f"Evidence: {one.events} events in an unbroken chain, verified now. The last hash is {one.head}."
    if one.checkpoint is not None:
        yield f"Checkpoint {one.checkpoint.number} of {one.checkpoint.at} covers it (hash {one.checkpoint.hash})."
    else:
        yield "No checkpoint covers it yet. The agent writes one every five minutes, and when it ends."
    yield "To verify the checkpoints: `assure-agent audit verify`. To see the events: `assure-agent audit log`."


def _dossier_text(dossier: "DeletedDossier") -> Iterator[str]:
    yield ""
    yield f"Dossier {dossier.dossier_id} (generation {dossier.generation})"
    yield f"  created           {format_optional_timestamp(dossier.created.at)}  event {dossier.created.event}"
    if dossier.due_at is not None:
        yield f"  deletion due      {format_optional_timestamp(dossier.due_at)}"
    for at, reply in dossier.deletions:
        trace = f", trace id {reply.trace_id}" if reply.trace_id else ""
        yield f"  deletion          {format_optional_timestamp(at)}  call {reply.number}: {_answer(reply)}{trace}"
    at_time = format_optional_timestamp(dossier.confirmed.at)
    yield f"  confirmed deleted {at_time}  event {dossier.confirmed.event}: a read was answered 404"
    yield f"                    hash {dossier.confirmed.hash}"


def _answer(reply: "LoggedAnswer") -> str:
    return f"{reply.result}, HTTP {reply.status}" if reply.status is not None else f"{reply.result}, {reply.trouble}"


def _certificate_json(one: "Certificate", now: float) -> dict[str, Any]:
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
        "signed": [
            {"generation": asked.generation, "fileCommit": asked.file_commit, "signedBy": asked.signer}
            for asked in one.signed
        ],
        "dossiers": [_dossier_json(dossier) for dossier in one.dossiers],
        "possibleOrphans": [
            {"reference": reference, "dossierId": dossier_id, "closed": format_optional_timestamp(closed_at)}
            for reference, dossier_id, closed_at in one.orphans
        ],
        "events": one.events,
        "head": one.head,
        "checkpoint": None if point is None else {"number": point.number, "at": point.at, "hash": point.hash},
    }


def _dossier_json(dossier: "DeletedDossier") -> dict[str, Any]:
    return {
        "dossierId": dossier.dossier_id,
        "generation": dossier.generation,
        "created": {"at": format_optional_timestamp(dossier.created.at), "event": dossier.created.event},
        "deletionDue": format_optional_timestamp(dossier.due_at),
        "deletions": [
            {"at": format_optional_timestamp(at), "call": reply.number, **answer_json(reply)}
            for at, reply in dossier.deletions
        ],
        "confirmedGone": {
            "at": format_optional_timestamp(dossier.confirmed.at),
            "event": dossier.confirmed.event,
            "hash": dossier.confirmed.hash,
        },
    }
