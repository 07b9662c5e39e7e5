"""`assure-agent describe NAME`: show all that the store and Assure have about a request."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent.cli.agent_client import send_command
from agent.cli.explain import FoundRequest, find_requests, print_hold
from agent.cli.get import sentence
from agent.cli.options import OutputOption, RequestName, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.state_file import store_settings
from agent.core.timestamps import format_optional_timestamp, format_timestamp
from agent.platform.settings import Settings, load_settings
from agent.store.nearest_names import unknown_request
from agent.views.document_diff import MASK, document_fields, is_personal
from agent.views.event_sentences import event_sentence
from agent.views.explain import describe_attempt
from agent.views.explain_json import explanation_json
from agent.views.origin import origin_json
from agent.views.resource import conditions_json, fault_json, request_json

_MAX_EVENTS = 20  # events that are shown


def describe(
    name: RequestName,
    remote: Annotated[
        bool, typer.Option("--remote", help="Also read the dossier at Assure. Needs credentials.")
    ] = False,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show personal values. The audit log records the disclosure.")
    ] = False,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show all that is known about a request.

    Shows the state, the admitted document, images, conditions, hold, calls and the last events. With --remote it also
    shows the dossier and its processes as they are at Assure. Read-only, in the store and at Assure.

    Personal values are masked. With --show-personal the command first records the disclosure in the audit log, through
    the agent if one is running. If that fails, it shows nothing.

    Exit codes: 0 shown, also if Assure has deleted the dossier, 1 unknown request, or with --remote no dossier or no
    answer.

    Example: assure-agent describe customer-4711 --remote
    """
    settings = load_settings(state_url=state_url) if remote else store_settings(state_url)
    dossiers = _dossiers(settings, name, show_personal) if remote else {}
    found, refusals = find_requests(settings, name, _MAX_EVENTS)
    if not found and not refusals:
        raise unknown_request(settings, name)
    if show_personal and not remote:
        _record_disclosure(settings, name, [one.record.uid for one in found])
    items = [_json(one, settings, show_personal) | {"remote": dossiers.get(one.record.uid)} for one in found]
    if output is Format.JSON:
        print_json({"items": items, "refused": [{**fault_json(one), "name": one.name} for one in refusals]})
        return
    for one, item in zip(found, items, strict=True):
        _print(one, item)
    for refusal in refusals:
        typer.echo(f"The agent refused its file at the last scan: {sentence(refusal)}")


def _dossiers(settings: Settings, name: str, personal: bool) -> dict[str, dict[str, Any]]:
    """The dossiers at Assure by uid, after the disclosure is durable."""
    from agent.cli.describe_remote import read_dossiers, records_at_assure

    records = records_at_assure(settings, name)
    if personal:
        _record_disclosure(settings, name, [record.uid for record in records])
    return read_dossiers(settings, records, personal)


def _record_disclosure(settings: Settings, name: str, uids: list[str]) -> None:
    for uid in uids:
        typer.echo(send_command(settings, "show-personal", name=name, uid=uid), err=True)


def _json(found: FoundRequest, settings: Settings, personal: bool) -> dict[str, Any]:
    """The local view. Personal values of the document are masked unless `personal`."""
    record, desired = found.record, found.record.desired
    shown = {
        path: value if personal or not is_personal(path) else MASK
        for path, value in document_fields(desired)
        if not path.startswith("spec.upload.images.")
    }
    return {
        **request_json(record),
        **explanation_json(record, found.attempts, found.now, settings.policy, found.context),
        "conditions": conditions_json(record),
        "origin": origin_json(record, found.origin, personal),
        "document": {"file": desired.file, "line": desired.line, "commit": desired.commit, "fields": shown},
        "images": [
            {"depiction": one.depiction, "path": one.path if personal else MASK, "sha256": one.sha256}
            for one in desired.images
        ],
        "events": [
            {
                "seq": one.seq,
                "time": format_timestamp(one.at),
                "type": one.type,
                "sentence": event_sentence(one.type, one.changes),
            }
            for one in found.events
        ],
    }


def _print(found: FoundRequest, item: dict[str, Any]) -> None:
    record = found.record
    for title, value in (
        ("Name", record.name),
        ("Uid", record.uid),
        ("Mode", item["mode"]),
        ("Generation", str(record.generation)),
        ("Phase", item["phase"]),
        ("State", item["state"]),
        ("Outcome", item["outcome"]),
        ("Dossier", record.dossier_id),
        ("Process", record.process_id),
        ("Reference", item["externalReference"]),
        ("Admitted", item["admittedAt"]),
        ("Due", format_optional_timestamp(record.due_at)),
        *_origin_rows(item["origin"]),
    ):
        typer.echo(f"{title + ':':12}{value or '-'}")
    document = item["document"]
    _print_section(
        f"Document ({document['file']}:{document['line']})",
        [f"{path}: {value}" for path, value in document["fields"].items()],
    )
    _print_section("Images", [f"{one['depiction']}: {one['path']} (sha256 {one['sha256']})" for one in item["images"]])
    _print_section(
        "Conditions",
        [f"{one['type']}: {one['status']}, {one['reason']}, {one['lastTransitionTime']}" for one in item["conditions"]],
    )
    _print_section("State", item["where"])
    print_hold(item)
    _print_section(
        "Calls to Assure",
        [f"{one.number}. {format_timestamp(one.intended_at)}: {describe_attempt(one)}" for one in found.attempts],
    )
    _print_section("Next step", [item["next"]["sentence"]])
    _print_section("Events", [f"{one['time']}  {one['sentence']}" for one in item["events"]])
    if item["remote"] is not None:
        from agent.cli.describe_remote import print_dossier

        typer.echo("\nAt Assure:")
        print_dossier(item["remote"])


def _origin_rows(origin: dict[str, str | None]) -> Iterator[tuple[str, str]]:
    """The known parts of the origin: many sources are in no repository."""
    for title, key in (("Commit", "commit"), ("Changed in", "fileCommit"), ("Signed by", "signer")):
        if (value := origin[key]) is not None:
            yield title, value


def _print_section(title: str, lines: list[str]) -> None:
    if lines:
        typer.echo(f"\n{title}:")
    for line in lines:
        typer.echo(f"  {line}")
