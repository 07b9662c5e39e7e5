"""Timestamps for people and files: ISO 8601, UTC, whole seconds."""

from datetime import UTC, datetime


def written(at: float) -> str:
    """A time as `YYYY-MM-DDThh:mm:ss.sssZ`, rounded as SQLite rounds, so that views and commands say the same."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
