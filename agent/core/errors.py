"""The errors of the agent. Each says what, where and why, and carries a hint that a person can act on.

AgentError
├── Impossible        ours: the machine was shown an observation that its table does not allow; the record is untouched
├── SettingsError     theirs: a setting is missing or wrong                                        (exit code 1)
│   └── WrongUse        settings that exist and are not taken: misspelt, misread, or of no effect  (exit code 2)
│       └── Untrusted     somebody else may have written them                                      (exit code 2)
├── StoreError        theirs: the state file cannot be used
│   ├── StoreLocked     another agent holds it
│   ├── StoreNewer      it was written by a newer version
│   ├── StoreForeign    it belongs to another Assure account
│   └── StoreDamaged    it is not what we wrote
└── RemoteError       theirs: Assure does not let us in
"""

from typing import TypeVar

T = TypeVar("T")


class AgentError(Exception):
    """Something a person should read. `str()` is the message; `hint` is what to try, without the word "Try"."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Impossible(AgentError):
    """A bug of the agent: the state machine would break one of its rules. The record stays unchanged."""


def required(value: T | None, name: str) -> T:
    """Return a value that the phase guarantees. Raises Impossible when it is None."""
    if value is None:
        raise Impossible(f"{name} is missing")
    return value


class SettingsError(AgentError):
    """Theirs: a setting is missing or wrong."""


class WrongUse(SettingsError):
    """Theirs: settings or options that exist and are not taken: misspelt, misread, or of no effect."""


class UntrustedFile(WrongUse):
    """Theirs: a file of settings or a secret that somebody else may have written."""


class StoreError(AgentError):
    """Theirs: the state file cannot be used."""


class StoreLocked(StoreError):
    """Another agent holds the state file [I7]."""


class StoreNewer(StoreError):
    """The state file was written by a newer version."""


class StoreForeign(StoreError):
    """The state file belongs to another base URL or client id."""


class StoreDamaged(StoreError):
    """The state file is not what we wrote."""


class UnknownRequest(AgentError):
    """The store has no request of this name. `reason` follows the name. `audit`: a uid is accepted as well."""

    def __init__(self, name: str, reason: str = "", audit: bool = False) -> None:
        uid, command = (", and none with this uid", "audit query who-asked") if audit else ("", "get")
        super().__init__(
            f"There is no request named {name}{uid}{reason}.", f"see all of them with `assure-agent {command}`"
        )


class RemoteError(AgentError):
    """Theirs: Assure does not let us in."""
