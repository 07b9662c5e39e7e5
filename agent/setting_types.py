"""How the values of settings are written: durations, sizes, lists, paths; and what is none."""

import pwd
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from agent.core.duration import parse_duration

_UNITS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2}


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", value.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError("expected a size such as 10MiB")
    return int(match[1]) * _UNITS[match[2]]


def words(value: Any) -> Any:
    """A list that is written with commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _written(value: Any) -> Any:
    """The value, which may not be empty: an empty path would be the working directory."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected a value; leave it out for the default")
    return value


def optional(value: Any) -> Any:
    """None for what is empty."""
    return None if isinstance(value, str) and not value.strip() else value


def uid_of(user: str) -> int:
    """The uid of a user that is given by name or uid. Raises ValueError for a name that this system does not know."""
    if user.isascii() and user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"there is no user {user!r} on this system; name users or uids") from None


GivenPath = Annotated[Path, BeforeValidator(_written)]
GivenText = Annotated[str, BeforeValidator(_written)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]


def printable(text: str) -> str:
    """The text, with a question mark for what no file and no terminal takes."""
    return text.encode(errors="replace").decode()
