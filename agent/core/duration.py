"""Durations in text form: Go's units plus `d`, as in `90s`, `15m`, `24h`, `30d`, `1h30m`, `250ms`, `0s`.

A duration is a float of seconds, exact to the microsecond, not negative and at most ten years of 365 days.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LONGEST_SECONDS = 3650 * 86_400.0

_MICROSECONDS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
    "µs": 1,  # the micro sign
    "μs": 1,  # the Greek letter
}
_PART = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:d|h|ms|m|s|us|µs|μs)"
_PATTERN = f"(?:{_PART})+"
_PARTS = re.compile(r"([0-9.]+)(d|h|ms|m|s|us|µs|μs)")
_LONGEST_TEXT = 40


@lru_cache(maxsize=256)  # a folder may contain `24h` a hundred thousand times
def parse_duration(text: str) -> float:
    """Parse a duration such as `1h30m` into seconds. Raises ValueError with a message for the user."""
    if text.startswith("-"):
        raise ValueError("expected a duration that is not negative")
    if len(text) > _LONGEST_TEXT or not (text == "0" or re.fullmatch(_PATTERN, text)):
        raise ValueError("expected a duration such as 90s, 15m, 24h or 30d")
    total = sum((Fraction(number) * _MICROSECONDS[unit] for number, unit in _PARTS.findall(text)), Fraction())
    if total.denominator != 1:
        raise ValueError("expected a duration of whole microseconds")
    seconds = int(total) / 1_000_000
    if seconds > LONGEST_SECONDS:
        raise ValueError("expected a duration of at most 10 years (3650d)")
    return seconds


_SIMILAR = re.compile(r"(?:P?T?)?([0-9]{1,5})\s*([A-Za-z]*)", re.IGNORECASE)
_WORDS = (("ms", 0.001), ("mo", 0), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400))


def similar_duration(text: str) -> str | None:
    """The duration that `30`, `1 hour`, `PT1H` or `2w` probably mean. None for other texts and long numbers."""
    found = _SIMILAR.fullmatch(text.strip()[:_LONGEST_TEXT])
    if found is None:
        return None
    unit = next((seconds for begin, seconds in _WORDS if (found[2].lower() or "s").startswith(begin)), 0)
    seconds = int(found[1]) * unit
    return format_duration(seconds) if 0 < seconds <= LONGEST_SECONDS else None


@lru_cache(1000)
def format_duration(seconds: float) -> str:
    """The shortest text for which `parse_duration` returns the same float. Days begin at `2d`, so `24h` stays."""
    left = round(seconds * 1_000_000)
    units = ["d", "h", "m", "s", "ms", "us"] if left >= 2 * _MICROSECONDS["d"] else ["h", "m", "s", "ms", "us"]
    text = ""
    for unit in units:
        count, left = divmod(left, _MICROSECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _read(value: object) -> float:
    if value == 0 and type(value) is int:
        return 0.0  # YAML parses `0` as a number
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 90s, 15m, 24h or 30d")  # noqa: TRY004 - pydantic wants it
    return parse_duration(value)


Duration = Annotated[
    float,
    BeforeValidator(_read),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": f"^(?:0|{_PATTERN})$",
            "maxLength": _LONGEST_TEXT,
            "minimum": 0,
            "maximum": 0,
        }
    ),
]
"""A field whose text form is a duration and whose value is in seconds."""
