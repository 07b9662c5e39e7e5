"""A process as a person may look at it: what a reading keeps, and the names of all other fields.

Their values leave here only when they are asked for, which is recorded before (`control.py`); nothing prints them by
accident [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from agent.assure import response_fields, response_parsers
from agent.core.assure_types import ProcessReading
from agent.core.classify import Reader, Reply

_MOST = 100  # fields that are named
_DEEPEST = 6
_LONGEST = 200  # characters of a value; a picture in a field is no text to read
_TOLD = (
    "processId",
    "status",
    "statusReasons",
    "provider",
    "processType",
    "createdAt",
    "updatedAt",
    "dossierId",
    "depictions",
)
_DEPICTIONS = ("front", "back", "selfie", "portrait")  # contract §9
_CHECKS = "providerSpecific.document.securityChecks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """`masked` are dotted paths of fields that hold a value, as `finalResult.firstName`; lists end in `[]`.

    `personal` are these fields with their values as text, printable and cut; empty unless they were asked for.
    """

    reading: ProcessReading
    depictions: tuple[str, ...]  # the pictures that Assure has
    masked: tuple[str, ...]
    personal: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def described(process_id: str, personal: bool = False) -> Reader[Described]:
    """GET process (contract §9); with `personal`, the values as well."""
    read = response_parsers.process(process_id)

    def describe(reply: Reply) -> Described:
        leaves = [(path, value) for path, value in _leaves(reply.document, "", 0) if not _told(path)]
        return Described(
            reading=read(reply),
            depictions=_depictions(reply.document),
            masked=tuple(dict.fromkeys(path for path, _ in leaves))[:_MOST],
            personal=tuple((path, _text(value)) for path, value in leaves[:_MOST]) if personal else (),
        )

    return describe


def _text(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    plain = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
    return plain + (f"... ({len(text)} characters)" if len(text) > _LONGEST else "")


def _depictions(document: object) -> tuple[str, ...]:
    given = document.get("depictions") if isinstance(document, dict) else None
    return tuple(word for word in _DEPICTIONS if isinstance(given, list) and word in given)


def _told(path: str) -> bool:
    check = path.startswith(_CHECKS) and path.endswith((".passed", ".name"))  # a check is told by its key
    return path.split(".")[0].removesuffix("[]") in _TOLD or check or path == "failReason.type"


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if depth > _DEEPEST or value is None:
        return
    if isinstance(value, dict):
        for key, below in value.items():
            name = key if isinstance(key, str) and response_fields.is_word(key) else "?"
            yield from _leaves(below, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below, f"{path}[]", depth + 1)
    else:
        yield path, value
