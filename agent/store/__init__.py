"""The store, on the engine that STATE_URL names. Nothing else reads this URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.platform.settings import Settings
    from agent.store.contract import Store
    from agent.store.reading.reading import Reading


def open_store(
    settings: Settings,
    account: str | None,
    observe: Callable[[float, int], None] | None = None,
    rebind: bool = False,
    sinks: Sequence[str] = (),
) -> Store:
    """Open or create the store for this account (base URL and client id). `rebind` moves it from another account.

    `account` is None for commands that call nothing at Assure; they open the store of any account. `sinks` receive the
    notifications of each commit. `observe` gets the seconds and the pieces of each commit.

    Raises StoreLocked, StoreNewer, StoreForeign, StoreDamaged or StoreError, and changes nothing then.
    """
    from agent.store.sqlite.store import SqliteStore

    claims_key = settings.claims_key.get_secret_value()
    return SqliteStore(settings.state_path, account, observe, rebind, sinks, claims_key)


def open_reading(settings: Settings) -> Reading:
    """Open the store read-only, for a command, the metrics or a page. Raises StoreError."""
    from agent.store.sqlite.readonly import ReadOnlyStore

    return ReadOnlyStore(settings.state_path)


def store_exists(settings: Settings) -> bool:
    """True if an agent has created the store."""
    return settings.state_path.exists()


def running_agent(settings: Settings) -> int | None:
    """The process id of the agent that runs on the store, or None."""
    from agent.store.sqlite.lock import holder

    return holder(settings.state_path)


def lost_store(settings: Settings) -> str | None:
    """The cause of the recovery that a start without a store would begin, or None. Call it if no store exists."""
    from agent.store.sqlite.rollback_detection import detect_rollback

    return detect_rollback(None, settings.state_path)


def store_identity(settings: Settings) -> tuple[int, int] | None:
    """A value that changes when another store takes the place of this one; None if there is none."""
    try:
        found = settings.state_path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
