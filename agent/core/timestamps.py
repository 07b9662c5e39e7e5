"""Timestamps for output and files: ISO 8601, UTC, milliseconds."""

from datetime import UTC, datetime


def format_timestamp(at: float) -> str:
    """A time as `YYYY-MM-DDThh:mm:ss.sssZ`, rounded as SQLite rounds, so that views and commands agree."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_optional_timestamp(at: float | None) -> str | None:
    """As `format_timestamp`; None stays None."""
    return None if at is None else format_timestamp(at)
