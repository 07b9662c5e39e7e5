"""The commands of the operator, and what they need of the store and the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agent.ports.circuit import CircuitState, CircuitTable
from agent.ports.key_value import KeyValue
from agent.ports.store import DossierOwners, IdentityKey

if TYPE_CHECKING:
    from pathlib import Path

    from agent.core.record import Desired, Record
    from agent.ports.recoveries import Recoveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the operator. The sender chooses the `id`; a command with a known id is not executed again.

    `sender` is the account of the operating system that sent it (`agent/daemon/peer_credentials.py`).
    """

    id: str
    verb: str
    uid: str | None = None
    sender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """The state that replicas and commands change for all replicas of a store."""

    paused: bool
    recovery: tuple[float | None, ...]  # when the open one began, was scanned and approved; None each without one
    command: int  # the number of the last command
    replicas: int = 1  # the replicas that live
    circuit: CircuitState = field(default_factory=CircuitState)
    starts: int | None = None  # the starts of today that count for the budget; None: no replica took one yet


class SharedStore(Protocol):
    """The store, as a replica watches it."""

    async def shared_state(self) -> SharedState:
        """The current state."""

    @property
    def circuit(self) -> CircuitTable | None:
        """The circuit breaker of all replicas; None with a state file, which one agent uses."""

    async def commands_after(self, number: int) -> list[Command]:
        """The commands with a higher number, in the order of application."""


class Documents(Protocol):
    """The documents of the source, as they are now."""

    async def find_document(self, name: str, rerun: str | None) -> Desired:
        """The document of this name, with this rerun token. Raises AgentError if it is missing or invalid."""


class CommandStore(DossierOwners, KeyValue, Protocol):
    """The store, as commands use it."""

    @property
    def keys(self) -> IdentityKey:
        """The key for uids."""

    @property
    def recoveries(self) -> Recoveries:
        """The recoveries of this store."""

    def refuse_away(self) -> None:
        """Raise StoreAway while the server of the database does not answer: a command does not wait for it."""

    async def get(self, uid: str) -> Record | None:
        """The record of this uid."""

    async def command_answer(self, command_id: str) -> str | None:
        """The answer to an executed command."""

    async def apply_command(self, command: Command, answer: str, at: float) -> None:
        """Record an executed command and its answer."""

    async def has_pending_image_deletions(self, uid: str) -> bool:
        """True if an image file of an earlier generation is still to be deleted."""

    async def make_claims_unreadable(self, uid: str) -> bool:
        """Make the claims of a request unreadable in every copy of the store, and erase them. True: it had claims."""

    @property
    def leftover(self) -> str:
        """Why old rows with erased data are still there, and how they go; no full stop at its end."""

    async def forget(self, uid: str, at: float) -> bool:
        """Erase the name, labels, paths and file of a request. False: old rows still have them (`leftover`)."""

    async def forget_in_replaced(self, uid: str, at: float) -> list[Path]:
        """Erase the same in the files that `restore` set aside. Returns the files where that failed."""
