"""The store for an auditor: a connection that only reads, and the files that belong to the store."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.core.errors import StoreDamaged
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, lines
from agent.store.identity_key import Keys


class AuditConnection(ABC):
    """A connection of an engine. Each method may raise StoreError. The SQL is the one that the engines share.

    `values` has one for each `?`.
    """

    def __init__(self, files: Path, key_path: Path, place: str) -> None:
        """`files`: the state file, or the path that the names of the local files begin with. `key_path`: the key file.

        `place`: the kind and the place of the store, as messages name it.
        """
        self.files = files
        self.key_path = key_path
        self.place = place

    @abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The rows of a query, as a DB-API cursor. There must be few."""

    @abstractmethod
    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, one after the other. After `freeze` there may be millions."""

    @abstractmethod
    def mappings(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        """The rows of a query by column, one after the other. After `freeze` there may be millions."""

    @abstractmethod
    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""

    @abstractmethod
    def tables_with_uid(self) -> Sequence[str]:
        """The tables whose rows belong to a request."""

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoints of the store. Raises MalformedCheckpoint."""
        return lines(checkpoint_path(self.files))

    @property
    def checkpoint_copy(self) -> Path | None:
        """A copy of the checkpoints on this machine, if the engine keeps one."""
        return None

    def recall(self, key: MetaKey) -> str | None:
        """A text of the table `meta`."""
        row = self.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def existing_keys(self) -> Keys | None:
        """The key file of this store; None if it is missing."""
        return Keys.existing(self.files, self.key_path)

    def checked_keys(self) -> Keys | None:
        """The key of this store: the key inside a backup, or the key file. None if both are missing.

        Raises StoreDamaged if the store was written under another key.
        """
        carried = self.recall(MetaKey.BACKUP_KEY)
        keys = Keys(bytes.fromhex(carried)) if carried is not None else self.existing_keys()
        kept = self.recall(MetaKey.KEY)
        if keys is not None and kept is not None and kept != keys.fingerprint:
            raise StoreDamaged(
                f"The {self.place} was written under another key than {self.key_path}.",
                "restore the key of that store",
            )
        return keys
