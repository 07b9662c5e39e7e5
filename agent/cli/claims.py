"""`assure-agent claims NAME`: show the claims that the agent keeps of an accepted result."""

import time
from typing import Any

import orjson
import typer

from agent.cli.agent_client import send_command
from agent.cli.options import OutputOption, RequestName, StateUrlOption
from agent.cli.output import Format, print_json
from agent.cli.state_file import store_settings
from agent.core.errors import AgentError
from agent.core.record import Record
from agent.core.timestamps import format_optional_timestamp
from agent.platform.settings import Settings
from agent.store import open_reading, store_exists
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.nearest_names import unknown_request
from agent.store.stored_claims import StoredClaims


def claims(
    name: RequestName,
    output: OutputOption = Format.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Show the claims that the agent keeps of a request.

    Claims are the personal data of the result. A request with `keep: claims` has them until claimsTtl has passed.
    The command first records the disclosure in the audit log of the request, through the agent if one is running. If
    that fails, it shows nothing. It needs CLAIMS_KEY, and KEYS_DIR or the folder `keys` next to the state file.

    Exit codes: 0 shown, 1 unknown request, no claims, or claims that cannot be decrypted.

    Example: assure-agent claims customer-4711
    """
    settings = store_settings(state_url)
    vault = ClaimsKeyring(settings.claims_keys_dir, settings.claims_key.get_secret_value())
    found = _found(settings, name)
    for _, kept in found:
        vault.check(kept)  # record no disclosure of claims that cannot be decrypted
    for record, _ in found:  # the disclosure is durable before the claims are shown
        typer.echo(send_command(settings, "show-claims", name=name, uid=record.uid), err=True)
    items = [_claims_json(record, kept, orjson.loads(vault.open(kept))) for record, kept in found]
    if output is Format.JSON:
        print_json({"items": items})
    else:
        for item in items:
            _print(item)


def _found(settings: Settings, name: str) -> list[tuple[Record, StoredClaims]]:
    """The records of this name whose claims have not expired. Raises AgentError if there are none."""
    records: list[Record] = []
    sealed: list[StoredClaims | None] = []
    if store_exists(settings):
        with open_reading(settings) as reading:
            records = reading.find(name)
            sealed = [reading.claims(record.uid) for record in records]
    if not records:
        raise unknown_request(settings, name)
    now = time.time()
    found = [
        (record, kept)
        for record, kept in zip(records, sealed, strict=True)
        if kept is not None and kept.encrypted.expires_at > now
    ]
    if not found:
        raise AgentError(
            f"The agent keeps no claims of {name}.",
            "set `keep: claims` in the file; claims exist from the outcome accepted until claimsTtl has passed",
        )
    return found


def _claims_json(record: Record, kept: StoredClaims, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": record.name,
        "uid": record.uid,
        "generation": kept.generation,
        "expiresAt": format_optional_timestamp(kept.encrypted.expires_at),
        "claims": values,
    }


def _print(item: dict[str, Any]) -> None:
    typer.echo(f"{item['name']}: claims of generation {item['generation']}, kept until {item['expiresAt']}")
    for path, value in _leaf_values(item["claims"], ""):
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        typer.echo(f"  {_plain_value(path)}: {_plain_value(text)}")


def _leaf_values(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [
            leaf for key, below in value.items() for leaf in _leaf_values(below, f"{path}.{key}" if path else str(key))
        ]
    return [(path, value)]


def _plain_value(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
