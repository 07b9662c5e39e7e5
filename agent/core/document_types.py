"""Find a document type by its id, or by country and type name, in Assure's list of document types (contract §5).

Pure: `assure/document_type_cache.py` reads the list. The result is never a guess. A country and type that match no
row, or rows with different ids, give no document type.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nsmallest

from agent.core.answer import CallResult
from agent.core.assure_types import DocumentKey, DocumentType

_MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Unresolved:
    """No document type, or several.

    `candidates` are the matching rows when ambiguous, otherwise the nearest, best first.
    """

    candidates: tuple[DocumentType, ...]
    ambiguous: bool


Resolution = DocumentType | Unresolved


def resolve(types: Sequence[DocumentType], wanted: DocumentKey | int) -> Resolution:
    """Return the only document type of this country and type, or of this id, or the reason why there is none."""
    fitting = {row.id: row for row in reversed(types) if wanted in (row.id, row.key)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        return Unresolved(tuple(fitting[number] for number in sorted(fitting)[:_MOST_CANDIDATES]), ambiguous=True)
    nearest = _nearest_ids(types, wanted) if isinstance(wanted, int) else _nearest(types, wanted)
    return Unresolved(nearest, ambiguous=False)


def check_admitted_id(found: Resolution | None, document_id: int) -> tuple[CallResult, str]:
    """Check the admitted id against today's document types: the class of the answer and, unless done, its cause.

    `found` is None while the list of document types is unavailable.
    """
    if found is None:
        return CallResult.BUSY, "no-document-types"
    if isinstance(found, Unresolved):
        return CallResult.REFUSED, "ambiguous" if found.ambiguous else "not-listed"
    return (CallResult.DONE, "") if found.id == document_id else (CallResult.REFUSED, "another-id")


def explain_unresolved(wanted: DocumentKey | int, found: Unresolved) -> tuple[str, str]:
    """Message and hint for the request file that names the document type."""
    if found.ambiguous:
        message = f"expected one document type; Assure has several for {wanted}"
        return message, f"use documentId with one of {_listed(found.candidates, keys=False)}"
    message = f"Assure has no document type {wanted} for this account"
    see = "see all of them with `assure-agent document-types`"
    if isinstance(wanted, int):
        nearest = ", ".join(f"{row.id} ({row.key}{row.name and f', {row.name}'})" for row in found.candidates)
    else:
        nearest = _listed(found.candidates, keys=True)
    return message, f"use one of {nearest}; {see}" if nearest else see


def selected(
    types: Iterable[DocumentType], country: str | None, kind: str | None, search: str | None
) -> list[DocumentType]:
    """The rows of this country and kind that contain the searched text, sorted. Case is ignored."""

    def fits(row: DocumentType) -> bool:
        texts = (str(row.id), row.country, row.country_name, row.type, row.name, row.sub_type, row.icao)
        return (
            (country is None or row.country.casefold() == country.casefold())
            and (kind is None or row.type.casefold() == kind.casefold())
            and (search is None or any(search.casefold() in text.casefold() for text in texts))
        )

    return sorted(filter(fits, types), key=lambda row: (row.key, row.id))


def _nearest(types: Sequence[DocumentType], key: DocumentKey) -> tuple[DocumentType, ...]:
    """Other types of the same country. A country without rows gives the same type of countries with a similar code."""
    here = [row for row in types if row.country == key.country]
    if here:
        order = get_close_matches(key.type, sorted({row.type for row in here}), n=len(here), cutoff=0.0)
        return tuple(sorted(here, key=lambda row: (order.index(row.type), row.id))[:_MOST_CANDIDATES])
    alike = [row for row in types if row.type == key.type]
    order = get_close_matches(key.country, sorted({row.country for row in alike}), cutoff=0.5)
    close = [row for row in alike if row.country in order]
    return tuple(sorted(close, key=lambda row: (order.index(row.country), row.id))[:_MOST_CANDIDATES])


def _nearest_ids(types: Sequence[DocumentType], wanted: int) -> tuple[DocumentType, ...]:
    """The rows with similar digits, otherwise those with the nearest numbers."""
    rows = {str(row.id): row for row in reversed(types)}
    alike = get_close_matches(str(wanted), rows, n=_MOST_CANDIDATES)
    if alike:
        return tuple(rows[number] for number in alike)
    return tuple(nsmallest(_MOST_CANDIDATES, rows.values(), key=lambda row: (abs(row.id - wanted), row.id)))


def _listed(rows: Sequence[DocumentType], *, keys: bool) -> str:
    shown = []
    for row in rows:
        about = ", ".join(part for part in (str(row.id) if keys else "", row.name) if part)
        shown.append(f"{row.key if keys else row.id}" + (f" ({about})" if about else ""))
    return ", ".join(shown)
