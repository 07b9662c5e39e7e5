"""`assure-agent document-types`: list the documents that this account can verify."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import OutputOption
from agent.cli.output import Format, print_json, print_table
from agent.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from agent.core.assure_types import DocumentType


def document_types(
    search: Annotated[str | None, typer.Argument(help="Only rows that contain this text.")] = None,
    country: Annotated[str | None, typer.Option("--country", help="Only this country (alpha-3), such as NLD.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only this kind of document, such as passport.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="List those of the built-in simulator.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the document types of this account.

    They are the values of documentId and documentType in a request file. Needs credentials, but no store. With
    --sandbox it needs no credentials.

    Exit codes: 0 listed (the list may be empty), 1 error.

    Example: assure-agent document-types --country NLD --type passport
    """
    from agent.core.document_types import selected

    types = asyncio.run(_fetch_simulated() if sandbox else _fetch(load_settings()))
    rows = selected(types, country, kind, search)
    if output is Format.JSON:
        print_json([_type_json(row) for row in rows])
    elif rows:
        columns = ("id", "country", "type", "name", "subtype", "icao")
        print_table(
            columns,
            [
                [str(row.id), row.country, row.type, row.name or "-", row.sub_type or "-", row.icao or "-"]
                for row in rows
            ],
        )
    else:
        typer.echo("No document type matches. Try: leave out --country, --type or SEARCH.")


async def _fetch(settings: Settings) -> "tuple[DocumentType, ...]":
    from agent.assure.account import authenticate, client_config, need_credentials, unreachable
    from agent.assure.client import AssureClient
    from agent.core.answer import Done
    from agent.platform.clock import SystemClock

    need_credentials(settings)
    async with AssureClient(client_config(settings), SystemClock()) as client:
        await authenticate(client, settings, _NOTE)
        answer = await client.list_document_types()
    if isinstance(answer, Done):
        return answer.value
    raise unreachable(settings, answer, _NOTE, "The document types cannot be read from Assure")


async def _fetch_simulated() -> "tuple[DocumentType, ...]":
    from agent.cli.sandbox import sandbox_account
    from agent.sandbox import SandboxServer

    async with SandboxServer() as server:
        return await _fetch(load_settings(**sandbox_account(server)))


_NOTE = "if the error remains, ask Signicat whether PictureID is enabled for this account"


def _type_json(row: "DocumentType") -> dict[str, object]:
    return {
        "id": row.id,
        "country": row.country,
        "countryName": row.country_name,
        "type": row.type,
        "name": row.name,
        "subType": row.sub_type,
        "icao": row.icao,
    }
