"""The part of `assure-agent describe NAME --remote` that is read from Assure."""

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from agent.core.answer import Answer, Done, Refused
from agent.core.assure_types import ListedProcess
from agent.core.errors import AgentError, RemoteError, StoreForeign
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading, store_exists
from agent.store.nearest_names import unknown_request
from agent.views.document_diff import MASK

if TYPE_CHECKING:
    from agent.assure.client import AssureClient
    from agent.assure.process_details import ProcessDetails


def records_at_assure(settings: Settings, name: str) -> list[Record]:
    """The records of this name that have a dossier. Raises AgentError without one, or for a store of another account.

    The caller then records a disclosure before it reads anything.
    """
    from agent.assure.account import account_of, need_credentials  # imported late: it imports the whole client

    need_credentials(settings)
    records: list[Record] = []
    if store_exists(settings):
        with open_reading(settings) as reading:
            reading.freeze()
            records, account = reading.find(name), reading.account()
            own = account_of(settings)
            if records and account not in (None, own):
                raise StoreForeign(
                    f"The store belongs to {account}, not to {own}.",
                    "use the settings of that account; this account does not have its dossiers",
                )
    if not records:
        raise unknown_request(settings, name)
    there = [record for record in records if record.dossier_id is not None]
    if not there:
        raise AgentError(f"{name} has no dossier at Assure.", f"see its state with `assure-agent explain {name}`")
    return there


def read_dossiers(settings: Settings, records: list[Record], personal: bool) -> dict[str, dict[str, Any]]:
    """The dossiers of these records as they are at Assure, by uid. Raises RemoteError if Assure cannot be read."""
    found = asyncio.run(_read_remote(settings, records, personal))
    return {record.uid: item for record, item in zip(records, found, strict=True)}


async def _read_remote(settings: Settings, records: list[Record], personal: bool) -> list[dict[str, Any]]:
    from agent.assure.account import authenticate, client_config
    from agent.assure.client import AssureClient
    from agent.platform.clock import SystemClock

    async with AssureClient(client_config(settings), SystemClock()) as client:
        await authenticate(client, settings, "nothing was changed")
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


def _fields(found: "ProcessDetails", personal: bool) -> dict[str, Any]:
    """All other fields: `personal` with a list of values for each, or `masked`."""
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


def print_dossier(item: dict[str, Any]) -> None:
    """Print the dossier for people."""
    if not item["found"]:
        typer.echo(f"{item['name']}: Assure has no dossier {item['dossierId']} (404). It was deleted.")
        return
    typer.echo(f"{item['name']}: dossier {item['dossierId']}, reference {item['externalReference'] or '-'}")
    if not item["processes"]:
        typer.echo("  no processes")
    for process in item["processes"]:
        _print_process(process)


def _print_process(process: dict[str, Any]) -> None:
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
