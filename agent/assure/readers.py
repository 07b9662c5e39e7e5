"""What we let in of the bodies of answers.

A reader takes what is documented and raises `Unreadable` otherwise. What decides (ids, status, link) must be there and
right; what only informs (reasons, checks, times) is optional, and dropped when it is not what it should be. Free text,
names, dates and numbers of people pass through here and are never kept [I6].
"""

import re
from typing import Final, TypeGuard
from urllib.parse import urlsplit

import orjson

from agent.core.classify import NOT_JSON, Reader, Reply, Unreadable
from agent.core.remote import (
    DocumentType,
    DossierReading,
    ListedDossier,
    ListedProcess,
    NewProcess,
    ProcessPage,
    ProcessReading,
    Reason,
    Status,
)
from agent.ports import ResultReading

Object = dict[str, object]

_ID = re.compile(r"[A-Za-z0-9._~-]{1,200}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")  # what Assure calls things; free text never looks like this
_PROVIDER = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")  # one of them is `connect:idmethod`
_TIME = re.compile(r"[0-9TZ:.+-]{1,40}")
_LINK = re.compile(r"https?://[!-~]{1,4000}")
_LONGEST_REFERENCE = 400
_LONGEST_TEXT = 100  # names of countries and documents
_MOST_NOTES = 64  # reasons or checks of one process
_SIMILARITIES = ("veryLow", "low", "medium", "high")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def parse(body: bytes) -> object:
    """The body as JSON, or NOT_JSON. orjson refuses NaN, bad UTF-8 and nesting deeper than 1024."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return NOT_JSON


def is_id(value: object) -> TypeGuard[str]:
    """True for an id that may stand in a path.

    `all` may not: DELETE /dossiers/all deletes every dossier of the account (contract §4), and does not exist for us.
    """
    return (
        isinstance(value, str)
        and _ID.fullmatch(value) is not None
        and value != "."
        and ".." not in value
        and value.lower() != "all"
    )


def is_word(value: str) -> bool:
    """True for what Assure calls things; free text never looks like this."""
    return _WORD.fullmatch(value) is not None


def nothing(reply: Reply) -> None:
    """Set images (§7), delete dossier (§3): no body is documented. Blanks and `{}` say nothing either.

    Anything else was said by somebody on the way, and proves nothing.
    """
    if reply.body.strip() and reply.document != {}:
        raise Unreadable("foreign-body")


def created_dossier(reference: str) -> Reader[str]:
    """Create dossier: its id (§4). An answer about another reference is not ours."""

    def read(reply: Reply) -> str:
        body = _object(reply.document)
        if body.get("externalReference", reference) not in (reference, None):
            raise Unreadable("foreign-body")
        return _id(body, "dossierId")

    return read


def created_process(reply: Reply) -> NewProcess:
    """Create process (§6)."""
    body = _object(reply.document)
    pages = body.get("documentPages")
    return NewProcess(
        process_id=_id(body, "processId"),
        status=_status(body),
        document_pages=pages if type(pages) is int and pages in (1, 2) else None,
    )


def capture_link(reply: Reply) -> str:
    """Start capture: the link (§10)."""
    link = _object(reply.document).get("url")
    if not isinstance(link, str) or not _LINK.fullmatch(link) or not urlsplit(link).hostname:
        raise Unreadable
    return link


def started(process_id: str) -> Reader[Status]:
    """Start verification: the status of the very process we started (§8)."""

    def read(reply: Reply) -> Status:
        body = _object(reply.document)
        _same(body, "processId", process_id)
        return _status(body)

    return read


def process(process_id: str) -> Reader[ProcessReading]:
    """GET process (§9)."""

    def read(reply: Reply) -> ProcessReading:
        body = _object(reply.document)
        _same(body, "processId", process_id)
        checks = _at(body, "providerSpecific", "document", "securityChecks")
        return ProcessReading(
            process_id=process_id,
            status=_status(body),
            reasons=_reasons(body.get("statusReasons")),
            checks=_checks(checks),
            fail_type=_word(_at(body, "failReason").get("type")),
            similarity=_similarity(
                _at(checks, "selfieAndDocumentMatch").get("similarityLevel"),
                _at(body, "finalResult").get("similarityScore"),
            ),
        )

    return read


CLAIMS: Final = ("finalResult", "providerSpecific")
"""The parts of an accepted process that are about the person, in Assure's words."""


def result(process_id: str) -> Reader[ResultReading]:
    """GET process with the claims of an accepted one: what Assure returned, for whoever seals it."""
    plain = process(process_id)

    def read(reply: Reply) -> ResultReading:
        reading = plain(reply)
        if reading.status is not Status.ACCEPTED:
            return ResultReading(reading=reading, claims=None)
        body = _object(reply.document)
        claims = orjson.dumps({part: body[part] for part in CLAIMS if isinstance(body.get(part), dict)})
        return ResultReading(reading=reading, claims=claims)

    return read


def dossier(dossier_id: str) -> Reader[DossierReading]:
    """GET dossier with its processes (§4)."""

    def read(reply: Reply) -> DossierReading:
        body = _object(reply.document)
        _same(body, "dossierId", dossier_id)
        rows = body.get("processes")
        return DossierReading(
            dossier_id=dossier_id,
            reference=_reference(body),
            processes=() if rows is None else tuple(_listed(row) for row in _array(rows)),
        )

    return read


def dossiers(reply: Reply) -> tuple[ListedDossier, ...]:
    """GET dossiers (§4). One bad row spoils the list: a list with holes would prove an absence that is none."""
    return tuple(
        ListedDossier(dossier_id=_id(row, "dossierId"), reference=_reference(row), created_at=_time(row, "createdAt"))
        for row in map(_object, _array(reply.document))
    )


def process_page(reply: Reply) -> ProcessPage:
    """GET processes (§9). One bad row spoils the page, for the same reason."""
    body = _object(reply.document)
    total = body.get("totalResults")
    if type(total) is not int or total < 0:
        raise Unreadable
    return ProcessPage(processes=tuple(_listed(row) for row in _array(body.get("processes"))), total=total)


def document_types(reply: Reply) -> tuple[DocumentType, ...]:
    """GET document-types (§5); 204 is none. One bad row spoils the list: it might be the second that fits."""
    if reply.status == 204:
        if reply.body:
            raise Unreadable("foreign-body")
        return ()
    return tuple(map(_document_type, _array(reply.document)))


def image(reply: Reply) -> bytes:
    """GET image: jpg or png (§7). A page of something else is not an image."""
    if not reply.body.startswith((_JPEG, _PNG)):
        raise Unreadable
    return reply.body


# ---- pieces: what decides is demanded -------------------------------------------------------------------------------


def _object(value: object) -> Object:
    if not isinstance(value, dict):
        raise Unreadable
    return value


def _array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Unreadable
    return value


def _id(body: Object, key: str) -> str:
    value = body.get(key)
    if not is_id(value):
        raise Unreadable
    return value


def _same(body: Object, key: str, asked: str) -> None:
    if _id(body, key) != asked:
        raise Unreadable("foreign-body")


def _status(body: Object) -> Status:
    value = body.get("status")
    if not isinstance(value, str):
        raise Unreadable
    try:
        return Status(value)
    except ValueError:
        raise Unreadable("unknown-status") from None


# ---- pieces: what informs is dropped when odd -----------------------------------------------------------------------

_EMPTY: Final[Object] = {}


def _at(body: Object, *path: str) -> Object:
    """The object at `path`, or an empty one."""
    for key in path:
        found = body.get(key)
        body = found if isinstance(found, dict) else _EMPTY
    return body


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _reasons(rows: object) -> tuple[Reason, ...]:
    kept = []
    for row in rows[:_MOST_NOTES] if isinstance(rows, list) else ():
        if isinstance(row, dict) and (kind := _word(row.get("type"))) and (about := _word(row.get("category"))):
            kept.append(Reason(type=kind, category=about, sub_category=_word(row.get("subCategory"))))
    return tuple(kept)


def _checks(checks: Object) -> tuple[tuple[str, bool], ...]:
    kept = []
    for name, check in checks.items():
        passed = check.get("passed") if isinstance(check, dict) else None
        if isinstance(passed, bool) and _word(name):
            kept.append((name, passed))
    return tuple(sorted(kept)[:_MOST_NOTES])


def _similarity(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value in _SIMILARITIES), None)


def _reference(body: Object) -> str | None:
    value = body.get("externalReference")
    return value if isinstance(value, str) and len(value) <= _LONGEST_REFERENCE else None


def _time(body: Object, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) and _TIME.fullmatch(value) else ""


def _text(body: Object, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable() else ""


def _document_type(row: object) -> DocumentType:
    body = _object(row)
    number, country, kind = body.get("id"), _word(body.get("country")), _word(body.get("type"))
    if type(number) is not int or not 0 < number < 2**31 or country is None or kind is None:
        raise Unreadable
    return DocumentType(
        id=number,
        country=country,
        type=kind,
        country_name=_text(body, "countryName"),
        name=_text(body, "name"),
        sub_type=_text(body, "subType"),
        icao=_text(body, "icao"),
    )


def _listed(row: object) -> ListedProcess:
    body = _object(row)
    provider, about = body.get("provider"), _at(body, "dossier")
    dossier_id = about.get("dossierId")
    return ListedProcess(
        process_id=_id(body, "processId"),
        provider=provider if isinstance(provider, str) and _PROVIDER.fullmatch(provider) else "",
        process_type=_word(body.get("processType")) or "",
        status=_status(body),
        created_at=_time(body, "createdAt"),
        updated_at=_time(body, "updatedAt"),
        dossier_id=dossier_id if is_id(dossier_id) else None,
        reference=_reference(about),
    )
