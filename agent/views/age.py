"""The age of a request in few characters, as kubectl prints it."""

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400
# Up to `limit` seconds, an age is a count of `unit`, followed by the rest in `rest` unless that is None.
_SCALE = (
    (2 * _MINUTE, (1, "s"), None),
    (10 * _MINUTE, (_MINUTE, "m"), (1, "s")),
    (3 * _HOUR, (_MINUTE, "m"), None),
    (8 * _HOUR, (_HOUR, "h"), (_MINUTE, "m")),
    (2 * _DAY, (_HOUR, "h"), None),
    (8 * _DAY, (_DAY, "d"), (_HOUR, "h")),
    (2 * _YEAR, (_DAY, "d"), None),
    (8 * _YEAR, (_YEAR, "y"), (_DAY, "d")),
    (float("inf"), (_YEAR, "y"), None),
)


def format_age(seconds: float) -> str:
    """`5s`, `3m`, `3m20s`, `2h`, `4d`, `4d3h`. A time in the future, by another clock, has the age `0s`."""
    left = max(int(seconds), 0)
    _, (size, unit), rest = next(step for step in _SCALE if left < step[0])
    count, left = divmod(left, size)
    below = left // rest[0] if rest is not None else 0
    return f"{count}{unit}" + (f"{below}{rest[1]}" if rest is not None and below else "")
