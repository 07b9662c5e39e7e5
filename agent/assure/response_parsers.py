"""Parsers for the bodies of answers.

A parser accepts the documented body and raises `Unreadable` otherwise. Ids, status and link are required. Reasons,
checks and times are optional, and dropped if they are invalid (`response_fields.py`). Free text, names, dates and
numbers of people are never kept [I6].
"""

import re
from typing import Final
from urllib.parse import urlsplit

import orjson

from agent.assure import response_fields
from agent.core.assure_types import (
    PROVIDER,
    DocumentType,
    DossierReading,
    ListedDossier,
    ListedProcess,
    Listing,
    NewProcess,
    ProcessPage,
    ProcessReading,
    Status,
    is_id,
)
from agent.core.classify import NOT_JSON, HttpReply, Reader, Unreadable
from agent.ports import ResultReading

_PROVIDER = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")  # one of them is `connect:idmethod`
_LINK = re.compile(r"https?://[!-~]{1,4000}")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def parse(body: bytes) -> object:
    """The body as JSON, or NOT_JSON. orjson refuses NaN, bad UTF-8 and nesting deeper than 1024."""
    if not body:
        return NOT_JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return NOT_JSON


def empty_body(reply: HttpReply) -> None:
    """Set images (§7), delete dossier (§3): no body is documented. Blanks and `{}` count as empty.

    Any other body comes from a proxy and proves nothing.
    """
    if reply.body.strip() and reply.document != {}:
        raise Unreadable("foreign-body")


def created_dossier(reference: str) -> Reader[str]:
    """Create dossier: its id (§4). Another reference in the answer is unreadable."""

    def read(reply: HttpReply) -> str:
        body = response_fields.an_object(reply.document)
        if body.get("externalReference", reference) not in (reference, None):
            raise Unreadable("foreign-body")
        return response_fields.an_id(body, "dossierId")

    return read


def created_process(reply: HttpReply) -> NewProcess:
    """Create process (§6)."""
    body = response_fields.an_object(reply.document)
    pages = body.get("documentPages")
    return NewProcess(
        process_id=response_fields.an_id(body, "processId"),
        status=response_fields.status(body),
        document_pages=pages if type(pages) is int and pages in (1, 2) else None,
    )


def capture_link(reply: HttpReply) -> str:
    """Start capture: the link (§10)."""
    link = response_fields.an_object(reply.document).get("url")
    if not isinstance(link, str) or not _LINK.fullmatch(link) or not urlsplit(link).hostname:
        raise Unreadable
    return link


def started_process(process_id: str) -> Reader[Status]:
    """Start verification: the status of the started process (§8)."""

    def read(reply: HttpReply) -> Status:
        body = response_fields.an_object(reply.document)
        response_fields.require_same(body, "processId", process_id)
        return response_fields.status(body)

    return read


def process(process_id: str) -> Reader[ProcessReading]:
    """GET process (§9)."""

    def read(reply: HttpReply) -> ProcessReading:
        body = response_fields.an_object(reply.document)
        response_fields.require_same(body, "processId", process_id)
        checks = response_fields.at(body, "providerSpecific", "document", "securityChecks")
        return ProcessReading(
            process_id=process_id,
            status=response_fields.status(body),
            reasons=response_fields.reasons(body.get("statusReasons")),
            checks=response_fields.checks(checks),
            fail_type=response_fields.token(response_fields.at(body, "failReason").get("type")),
            similarity=response_fields.similarity(
                response_fields.at(checks, "selfieAndDocumentMatch").get("similarityLevel"),
                response_fields.at(body, "finalResult").get("similarityScore"),
            ),
        )

    return read


CLAIMS: Final = ("finalResult", "providerSpecific")
"""The fields of an accepted process with data of the end user."""


def result(process_id: str) -> Reader[ResultReading]:
    """GET process, with the claims of an accepted one as JSON, to be encrypted."""
    plain = process(process_id)

    def read(reply: HttpReply) -> ResultReading:
        reading = plain(reply)
        if reading.status is not Status.ACCEPTED:
            return ResultReading(reading=reading, claims=None)
        body = response_fields.an_object(reply.document)
        claims = orjson.dumps({part: body[part] for part in CLAIMS if isinstance(body.get(part), dict)})
        return ResultReading(reading=reading, claims=claims)

    return read


def dossier(dossier_id: str) -> Reader[DossierReading]:
    """GET dossier with its processes (§4)."""

    def read(reply: HttpReply) -> DossierReading:
        body = response_fields.an_object(reply.document)
        response_fields.require_same(body, "dossierId", dossier_id)
        rows = body.get("processes")
        return DossierReading(
            dossier_id=dossier_id,
            reference=response_fields.reference(body),
            processes=() if rows is None else tuple(_listed(row) for row in response_fields.an_array(rows)),
        )

    return read


def dossiers(reply: HttpReply) -> Listing:
    """GET dossiers (§4). One invalid row makes the list unreadable: an incomplete list would prove a false absence."""
    return Listing(
        ListedDossier(
            dossier_id=response_fields.an_id(row, "dossierId"),
            reference=response_fields.reference(row),
            created_at=response_fields.time(row, "createdAt"),
        )
        for row in map(response_fields.an_object, response_fields.an_array(reply.document))
    )


def process_page(reply: HttpReply) -> ProcessPage:
    """GET processes (§9). One invalid row makes the page unreadable, as in `dossiers`.

    The account may use other products with statuses of their own: a row with an unknown status is skipped.
    """
    body = response_fields.an_object(reply.document)
    total = body.get("totalResults")
    if type(total) is not int or total < 0:
        raise Unreadable
    rows = [row for row in response_fields.an_array(body.get("processes")) if not _is_unknown_status(row)]
    return ProcessPage(processes=tuple(map(_listed, rows)), total=total)


def document_types(reply: HttpReply) -> tuple[DocumentType, ...]:
    """GET document-types (§5); 204 means none. An invalid row makes the list unreadable: it may be a second match."""
    if reply.status == 204:
        if reply.body:
            raise Unreadable("foreign-body")
        return ()
    return tuple(map(_document_type, response_fields.an_array(reply.document)))


def image(reply: HttpReply) -> bytes:
    """GET image: jpg or png (§7). Any other content is unreadable."""
    if not reply.body.startswith((_JPEG, _PNG)):
        raise Unreadable
    return reply.body


def _document_type(row: object) -> DocumentType:
    body = response_fields.an_object(row)
    number, country, kind = (
        body.get("id"),
        response_fields.token(body.get("country")),
        response_fields.token(body.get("type")),
    )
    if type(number) is not int or not 0 < number < 2**31 or country is None or kind is None:
        raise Unreadable
    return DocumentType(
        id=number,
        country=country,
        type=kind,
        country_name=response_fields.text(body, "countryName"),
        name=response_fields.text(body, "name"),
        sub_type=response_fields.text(body, "subType"),
        icao=response_fields.text(body, "icao"),
    )


def _is_unknown_status(row: object) -> bool:
    body = response_fields.an_object(row)
    provider, status = body.get("provider"), response_fields.token(body.get("status"))
    others = isinstance(provider, str) and _PROVIDER.fullmatch(provider) is not None and provider != PROVIDER
    return others and status is not None and status not in set(Status)


def _listed(row: object) -> ListedProcess:
    body = response_fields.an_object(row)
    provider, about = body.get("provider"), response_fields.at(body, "dossier")
    dossier_id = about.get("dossierId")
    return ListedProcess(
        process_id=response_fields.an_id(body, "processId"),
        provider=provider if isinstance(provider, str) and _PROVIDER.fullmatch(provider) else "",
        process_type=response_fields.token(body.get("processType")) or "",
        status=response_fields.status(body),
        created_at=response_fields.time(body, "createdAt"),
        updated_at=response_fields.time(body, "updatedAt"),
        dossier_id=dossier_id if is_id(dossier_id) else None,
        reference=response_fields.reference(about),
    )
