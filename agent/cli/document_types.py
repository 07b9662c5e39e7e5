"""`assure-agent document-types`: which documents this account may verify."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.output import Format, print_json, print_table
from agent.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from agent.core.assure_types import DocumentType


def document_types(
    search: Annotated[str | None, typer.Argument(help="Only rows that hold this text anywhere.")] = None,
    country: Annotated[str | None, typer.Option("--country", help="Only this country, alpha-3, such as NLD.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only this kind of document, such as passport.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
) -> None:
    """Ask Assure for the document types of this account: what documentId and documentType may say.

    Needs credentials and no state. Exit codes: 0 fine, also when nothing fits; 1 error.

    Example: assure-agent document-types --country NLD --type passport
    """
    from agent.core.document_types import selected

    rows = selected(asyncio.run(_asked(load_settings())), country, kind, search)
    if output is Format.JSON:
        print_json([_item(row) for row in rows])
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
        typer.echo("No document type fits. Try: leave out --country, --type or SEARCH.")


async def _asked(settings: Settings) -> "tuple[DocumentType, ...]":
    from agent.assure.account import client_config, let_in, need_credentials, unreachable
    from agent.assure.client import AssureClient
    from agent.core.answer import Done
    from agent.platform.clock import SystemClock

    need_credentials(settings)
    async with AssureClient(client_config(settings), SystemClock()) as client:
        await let_in(client, settings, _COMFORT)
        answer = await client.list_document_types()
    if isinstance(answer, Done):
        return answer.value
    raise unreachable(settings, answer, _COMFORT, "The document types cannot be read from Assure")


_COMFORT = "if it stays, ask Signicat whether PictureID is on for this account"


def _item(row: "DocumentType") -> dict[str, object]:
    return {
        "id": row.id,
        "country": row.country,
        "countryName": row.country_name,
        "type": row.type,
        "name": row.name,
        "subType": row.sub_type,
        "icao": row.icao,
    }
