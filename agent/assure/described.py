"""A process as a person may look at it: what a reading keeps, and the names of all other fields, never their values."""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.assure import readers
from agent.core.classify import Reader, Reply
from agent.core.remote import ProcessReading

_MOST = 100  # fields that are named
_DEEPEST = 6
_TOLD = ("processId", "status", "statusReasons", "provider", "processType", "createdAt", "updatedAt", "dossierId")
_CHECKS = "providerSpecific.document.securityChecks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """`masked` are dotted paths of fields that hold a value, as `finalResult.firstName`; lists end in `[]`."""

    reading: ProcessReading
    masked: tuple[str, ...]


def described(process_id: str) -> Reader[Described]:
    """GET process (contract §9)."""
    read = readers.process(process_id)

    def describe(reply: Reply) -> Described:
        paths = dict.fromkeys(path for path in _leaves(reply.document, "", 0) if not _told(path))
        return Described(reading=read(reply), masked=tuple(paths)[:_MOST])

    return describe


def _told(path: str) -> bool:
    check = path.startswith(_CHECKS) and path.endswith(".passed")
    return path.split(".")[0].removesuffix("[]") in _TOLD or check or path == "failReason.type"


def _leaves(value: object, path: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST or value is None:
        return
    if isinstance(value, dict):
        for key, below in value.items():
            name = key if isinstance(key, str) and readers.is_word(key) else "?"
            yield from _leaves(below, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below, f"{path}[]", depth + 1)
    else:
        yield path
