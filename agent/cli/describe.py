"""`assure-agent describe NAME --remote`: what Assure has of a request now."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.agent_client import told
from agent.cli.output import Format, print_json
from agent.core.answer import Answer, Done, Refused
from agent.core.assure_types import ListedProcess
from agent.core.errors import AgentError, RemoteError, SettingsError, StoreForeign
from agent.core.record import Record
from agent.platform.settings import Settings, load_settings
from agent.store.readonly import Reading
from agent.views.explain import LINK_LOST, another_link

if TYPE_CHECKING:
    from agent.assure.client import AssureClient
    from agent.assure.process_details import Described

MASK = "***"


def describe(
    name: Annotated[str, typer.Argument(help="The name of the request.")],
    remote: Annotated[bool, typer.Option("--remote", help="Ask Assure; required, since `explain` tells ours.")] = False,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show personal values; that they were is recorded for the audit.")
    ] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Show the dossier of a request and its processes as Assure has them now. Personal values are masked.

    Read-only, here and at Assure; needs credentials. Statuses, names of reasons and security checks are shown; of all
    other fields only the name. With --show-personal their values are shown as well: it is first recorded in the
    audit history of the request, through the agent where one runs, and nothing is shown when that fails. Exit codes: 0
    fine (also when Assure has it no more), 1 no such request, nothing at Assure yet, or Assure does not answer.

    Example: assure-agent describe customer-4711 --remote
    """
    if not remote:
        raise typer.BadParameter("expected --remote; what the agent knows itself is told by `assure-agent explain`.")
    settings = load_settings(state_url=state)
    records, linkless = _records(settings, name)
    if show_personal:
        for record in records:  # durable before anything is asked for
            typer.echo(told(settings, "show-personal", name=name, uid=record.uid), err=True)
    asked = asyncio.run(_ask(settings, records, show_personal))
    items = [
        item | {"linkLost": item["found"] and record.uid in linkless}
        for record, item in zip(records, asked, strict=True)
    ]
    if output is Format.JSON:
        print_json({"items": items})
    else:
        for item in items:
            _print(item)
            if item["linkLost"]:
                typer.echo(f"  {LINK_LOST} Try: {another_link(name)}.")


def _records(settings: Settings, name: str) -> tuple[list[Record], set[str]]:
    """What is there of this name, and the uids of those whose capture link is lost."""
    if not settings.client_id or not settings.client_secret.get_secret_value():
        raise SettingsError(
            "ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET are not set.",
            "set them to the API client of your Signicat account",
        )
    from agent.assure.account import account_of  # late: it has the whole client behind it

    records: list[Record] = []
    linkless: set[str] = set()
    if settings.state_path.exists():
        with Reading(settings.state_path) as reading:
            reading.freeze()
            records, account = reading.named(name), reading.account()
            linkless = {record.uid for record in records if reading.linkless(record)}
            ours = account_of(settings)
            if records and account not in (None, ours):
                raise StoreForeign(
                    f"The state file belongs to {account}, not to {ours}.",
                    "use the settings of that account: this one does not have its dossiers",
                )
    if not records:
        raise AgentError(f"There is no request named {name}.", "see all of them with `assure-agent get`")
    there = [record for record in records if record.dossier_id is not None]
    if not there:
        raise AgentError(f"Nothing of {name} is at Assure now.", f"see where it is with `assure-agent explain {name}`")
    return there, linkless


async def _ask(settings: Settings, records: list[Record], personal: bool) -> list[dict[str, Any]]:
    from agent.assure.account import client_config, let_in
    from agent.assure.client import AssureClient
    from agent.platform.clock import SystemClock

    async with AssureClient(client_config(settings), SystemClock()) as client:
        await let_in(client, settings, "nothing was changed")
        return [await _dossier(client, record, personal) for record in records]


async def _dossier(client: "AssureClient", record: Record, personal: bool) -> dict[str, Any]:
    assert record.dossier_id is not None
    answer = await client.read_dossier(record.dossier_id)
    item: dict[str, Any] = {"name": record.name, "dossierId": record.dossier_id, "found": isinstance(answer, Done)}
    if isinstance(answer, Done):
        listed = answer.value.processes
        processes = [await _process(client, record.dossier_id, process, personal) for process in listed]
        return item | {"externalReference": answer.value.reference, "processes": processes}
    if isinstance(answer, Refused) and answer.missing:
        return item | {"externalReference": None, "processes": []}
    raise _unanswered(answer)


async def _process(client: "AssureClient", dossier_id: str, listed: ListedProcess, personal: bool) -> dict[str, Any]:
    answer = await client.describe_process(dossier_id, listed.process_id, personal)
    row: dict[str, Any] = {
        "processId": listed.process_id,
        "provider": listed.provider,
        "processType": listed.process_type,
        "createdAt": listed.created_at or None,
        "updatedAt": listed.updated_at or None,
        "status": listed.status,
    }
    if not isinstance(answer, Done):
        if isinstance(answer, Refused) and answer.missing:
            return row
        raise _unanswered(answer)
    reading = answer.value.reading
    return row | {
        "status": reading.status,
        "reasons": [[part for part in (r.type, r.category, r.sub_category) if part] for r in reading.reasons],
        "checks": dict(reading.checks),
        "failType": reading.fail_type,
        "similarity": reading.similarity,
        "depictions": list(answer.value.depictions),
        **_fields(answer.value, personal),
    }


def _fields(found: "Described", personal: bool) -> dict[str, Any]:
    """The fields that are not told otherwise: `personal` with their values, a list each, or `masked`."""
    if not personal:
        return {"masked": dict.fromkeys(found.masked, MASK)}
    values: dict[str, list[str]] = {}
    for path, value in found.personal:
        values.setdefault(path, []).append(value)
    return {"personal": values}


def _unanswered(answer: Answer[Any]) -> RemoteError:
    from agent.platform.endpoint_health import trouble_of

    trouble = trouble_of(answer)
    how = trouble.sentence if trouble is not None else f"HTTP {answer.evidence.status}"
    return RemoteError(f"Assure cannot be read ({how}).", "check credentials and network with `assure-agent doctor`")


def _print(item: dict[str, Any]) -> None:
    if not item["found"]:
        typer.echo(f"{item['name']}: Assure has no dossier {item['dossierId']} (404): it is deleted.")
        return
    typer.echo(f"{item['name']}: dossier {item['dossierId']}, reference {item['externalReference'] or '-'}")
    if not item["processes"]:
        typer.echo("  no processes")
    for process in item["processes"]:
        typer.echo(
            f"  process {process['processId']}: {process['status']} ({process['provider']}, {process['processType']}, "
            f"created {process['createdAt'] or '-'}, updated {process['updatedAt'] or '-'})"
        )
        for reason in process.get("reasons", []):
            typer.echo(f"    reason: {' / '.join(reason)}")
        for check, passed in process.get("checks", {}).items():
            typer.echo(f"    check {check}: {'passed' if passed else 'not passed'}")
        pictures = ", ".join(process.get("depictions", []))
        for label, value in (
            ("failed with", process.get("failType")),
            ("similarity", process.get("similarity")),
            ("pictures", pictures),
        ):
            if value:
                typer.echo(f"    {label}: {value}")
        for path, mask in process.get("masked", {}).items():
            typer.echo(f"    {path}: {mask}")
        for path, values in process.get("personal", {}).items():
            typer.echo(f"    {path}: {', '.join(values)}")
