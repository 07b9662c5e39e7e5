"""A process for the operator: the fields of a reading, and the names of all other fields.

The values of the other fields are read on request only, after the disclosure is recorded (`daemon/commands.py`). Their
repr is hidden [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from agent.assure import response_fields, response_parsers
from agent.core.assure_types import ProcessReading
from agent.core.classify import HttpReply, Reader

_MAX_FIELDS = 100  # fields
_MAX_DEPTH = 6
_MAX_VALUE_LENGTH = 200  # characters of a value; longer values are images rather than text
_SHOWN_FIELDS = (
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
class ProcessDetails:
    """The fields of a process for the operator.

    `masked` has the dotted paths of fields with a value, such as `finalResult.firstName`. A list ends in `[]`.
    `personal` has the same fields with their values as printable, truncated text. It is empty unless requested.
    """

    reading: ProcessReading
    depictions: tuple[str, ...]  # the images at Assure
    masked: tuple[str, ...]
    personal: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def process_details(process_id: str, personal: bool = False) -> Reader[ProcessDetails]:
    """GET process (contract §9); with `personal`, the values as well."""
    read = response_parsers.process(process_id)

    def describe(reply: HttpReply) -> ProcessDetails:
        leaves = [(path, value) for path, value in _leaves(reply.document, "", 0) if not _is_shown(path)]
        return ProcessDetails(
            reading=read(reply),
            depictions=_depictions(reply.document),
            masked=tuple(dict.fromkeys(path for path, _ in leaves))[:_MAX_FIELDS],
            personal=tuple((path, _text(value)) for path, value in leaves[:_MAX_FIELDS]) if personal else (),
        )

    return describe


def _text(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    plain = "".join(c if c.isprintable() else "?" for c in text[:_MAX_VALUE_LENGTH])
    return plain + (f"... ({len(text)} characters)" if len(text) > _MAX_VALUE_LENGTH else "")


def _depictions(document: object) -> tuple[str, ...]:
    given = document.get("depictions") if isinstance(document, dict) else None
    return tuple(word for word in _DEPICTIONS if isinstance(given, list) and word in given)


def _is_shown(path: str) -> bool:
    check = path.startswith(_CHECKS) and path.endswith((".passed", ".name"))  # the reading has the key of the check
    return path.split(".")[0].removesuffix("[]") in _SHOWN_FIELDS or check or path == "failReason.type"


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if depth > _MAX_DEPTH or value is None:
        return
    if isinstance(value, dict):
        for key, below in value.items():
            name = key if isinstance(key, str) and response_fields.is_token(key) else "?"
            yield from _leaves(below, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below, f"{path}[]", depth + 1)
    else:
        yield path, value
