"""The errors of the agent. Each states the problem and its object, and carries a hint for the operator."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the most similar of the known texts; empty if none is similar."""
    from difflib import get_close_matches  # imported late: only a mistake needs it

    close = get_close_matches(text[:253], known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class AgentError(Exception):
    """An error for the operator. `str()` is the message. `hint` is the remedy without the prefix "Try"."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Impossible(AgentError):
    """A bug of the agent: an observation that the state machine does not allow. The record stays unchanged."""


class Moved(AgentError):
    """The stored record `uid` is another one than the record before the step. The commit has written nothing.

    Its writer has to read the record again. With SQLite, one agent is the only writer, so it is a bug of the agent.
    """

    def __init__(self, uid: str) -> None:
        super().__init__(f"the record {uid} has another version in the store")
        self.uid = uid


def required(value: T | None, name: str) -> T:
    """Return a value that the phase guarantees. Raises Impossible when it is None."""
    if value is None:
        raise Impossible(f"{name} is missing")
    return value


class SettingsError(AgentError):
    """A setting is missing or wrong. The exit code is 1."""


class WrongUse(SettingsError):
    """A setting or option that has no effect or cannot be parsed, for example a misspelt one. The exit code is 2."""


class UntrustedFile(WrongUse):
    """A file with settings or a secret that another user may have written."""


class StoreError(AgentError):
    """The store cannot be used."""


class StoreAway(StoreError):
    """The server of the database does not answer now."""


class StoreLocked(StoreError):
    """Another agent holds the lock of the store [I7]."""


class Fenced(StoreLocked):
    """The lease of this replica has ended, and another process has removed it."""


class StoreNewer(StoreError):
    """A newer version wrote the store."""


class StoreForeign(StoreError):
    """The store belongs to another base URL or client id."""


class StoreDamaged(StoreError):
    """The store is not as the agent wrote it."""


class UnknownRequest(AgentError):
    """The store has no request of this name. `agent.store.nearest_names.unknown_request` adds a similar name."""

    def __init__(self, name: str, reason: str = "", audit: bool = False, similar: Iterable[str] = ()) -> None:
        """`reason` follows the name. `audit`: a uid is accepted as well. `similar`: names of requests."""
        uid, command = (", and none with this uid", "audit query who-asked") if audit else ("", "get")
        super().__init__(
            f"There is no request named {name}{uid}{reason}.{did_you_mean(name, similar)}",
            f"see all of them with `assure-agent {command}`",
        )
        self.name = name


class RemoteError(AgentError):
    """Assure does not accept the agent."""
