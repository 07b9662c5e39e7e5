"""Parsers for single fields of an answer: ids, tokens, times.

Required fields (ids, status) raise `Unreadable` if they are missing or invalid. Optional fields are dropped if they
are invalid. No free text of a person passes [I6].
"""

import re
from typing import Final

from agent.core.assure_types import Status, StatusReason, is_id
from agent.core.classify import Unreadable

Object = dict[str, object]

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")  # a name in Assure's vocabulary; free text does not match
_TIME = re.compile(r"[0-9TZ:.+-]{1,40}")
_LONGEST_REFERENCE = 400
_LONGEST_TEXT = 100  # names of countries and documents
_MAX_NOTES = 64  # reasons or checks of one process
_SIMILARITIES = ("veryLow", "low", "medium", "high")


def is_token(value: str) -> bool:
    """True for a name in Assure's vocabulary. Free text does not match."""
    return _TOKEN.fullmatch(value) is not None


# ---- required fields ---------------------------------------------------------------------------------------


def an_object(value: object) -> Object:
    """The value, which has to be an object."""
    if not isinstance(value, dict):
        raise Unreadable
    return value


def an_array(value: object) -> list[object]:
    """The value, which has to be an array."""
    if not isinstance(value, list):
        raise Unreadable
    return value


def an_id(body: Object, key: str) -> str:
    """The id under this key."""
    value = body.get(key)
    if not is_id(value):
        raise Unreadable
    return value


def require_same(body: Object, key: str, asked: str) -> None:
    """The id under this key has to be the one that was asked for: anything else was said about something else."""
    if an_id(body, key) != asked:
        raise Unreadable("foreign-body")


def status(body: Object) -> Status:
    """The status, one of those that are documented."""
    value = body.get("status")
    if not isinstance(value, str):
        raise Unreadable
    try:
        return Status(value)
    except ValueError:
        raise Unreadable("unknown-status") from None


# ---- what informs is dropped when odd -----------------------------------------------------------------------

_EMPTY: Final[Object] = {}


def at(body: Object, *path: str) -> Object:
    """The object at `path`, or an empty one."""
    for key in path:
        found = body.get(key)
        body = found if isinstance(found, dict) else _EMPTY
    return body


def token(value: object) -> str | None:
    """A name in Assure's vocabulary, or None."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def reasons(rows: object) -> tuple[StatusReason, ...]:
    """The names of the reasons of a status."""
    kept = []
    for row in rows[:_MAX_NOTES] if isinstance(rows, list) else ():
        if isinstance(row, dict) and (kind := token(row.get("type"))) and (about := token(row.get("category"))):
            kept.append(StatusReason(type=kind, category=about, sub_category=token(row.get("subCategory"))))
    return tuple(kept)


def checks(checks: Object) -> tuple[tuple[str, bool], ...]:
    """The security checks that have a result."""
    kept = []
    for name, check in checks.items():
        passed = check.get("passed") if isinstance(check, dict) else None
        if isinstance(passed, bool) and token(name):
            kept.append((name, passed))
    return tuple(sorted(kept)[:_MAX_NOTES])


def similarity(*values: object) -> str | None:
    """The first valid similarity among the values."""
    return next((value for value in values if isinstance(value, str) and value in _SIMILARITIES), None)


def reference(body: Object) -> str | None:
    """The external reference, or None if it is invalid."""
    value = body.get("externalReference")
    return value if isinstance(value, str) and len(value) <= _LONGEST_REFERENCE else None


def time(body: Object, key: str) -> str:
    """The time in this field, unchanged, or an empty string."""
    value = body.get(key)
    return value if isinstance(value, str) and _TIME.fullmatch(value) else ""


def text(body: Object, key: str) -> str:
    """The name of a country or a document, or an empty string."""
    value = body.get(key)
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable() else ""
