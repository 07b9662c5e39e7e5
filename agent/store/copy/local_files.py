"""The files that belong to a store: its key, its mark, its checkpoints, and the day keys of claims."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import StoreDamaged, StoreError
from agent.platform.files import write_atomically
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, encoded
from agent.store.identity_key import Keys
from agent.store.rollback_detection import HighWaterMark


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """The files of one store."""

    path: Path  # the state file, or the path in STATE_DIR that the names of the others begin with
    key_file: Path | None  # KEY_FILE, with a database
    keys_dir: Path | None  # the folder of the day keys; None: KEYS_DIR is not set, and a database needs it

    @property
    def key_path(self) -> Path:
        """The key file."""
        return self.key_file or self.path.with_name("agent.key")

    @property
    def checkpoints(self) -> Path:
        """The checkpoint file."""
        return checkpoint_path(self.path)

    def keys(self, fingerprint: str | None) -> Keys:
        """The key of this store. Raises StoreDamaged if it is missing, or another one."""
        keys = Keys.existing(self.path, self.key_file)
        if keys is None:
            raise StoreDamaged(f"The key file {self.key_path} is missing.", "restore it; the store is useless without")
        if fingerprint is not None and keys.fingerprint != fingerprint:
            raise StoreDamaged(
                f"The store was written under another key than {self.key_path}.", "restore the key of that store"
            )
        return keys


def refuse_other_files(checkpoints: Sequence[Checkpoint], target: LocalFiles, keys: Keys) -> None:
    """Raise StoreError if the place of the target has files of another store than that of these checkpoints.

    Writes nothing.
    """
    found = Keys.existing(target.path, target.key_file)
    if found is not None and found.fingerprint != keys.fingerprint:
        raise StoreError(
            f"The file {target.key_path} is the key of another store.",
            "set KEY_FILE or STATE_DIR to a place of its own, or move that file away",
        )
    text = target.checkpoints.read_bytes() if target.checkpoints.exists() else b""
    if not _text(checkpoints).startswith(text):
        raise StoreError(
            f"The file {target.checkpoints} has the checkpoints of another store.",
            "set STATE_DIR to a place of its own, or move that file away",
        )


def carry(checkpoints: Sequence[Checkpoint], target: LocalFiles, keys: Keys, identity: str, last_event: int) -> None:
    """Write the key, the checkpoints and the mark of the target. A repetition changes nothing."""
    try:
        for path in (target.path, target.key_path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Keys.load_or_create(target.path, keys.carried, target.key_file)
        if checkpoints:
            write_atomically(target.checkpoints, _text(checkpoints))
        mark = HighWaterMark(target.path)
        mark.begin(identity, last_event)
        mark.close()
    except OSError as error:
        raise StoreError(
            f"The files of the copy cannot be written in {target.path.parent}: {error.strerror}.",
            "give the command a writable folder, and repeat it",
        ) from None
    give_to_owner(target.path.parent, target.key_path, target.checkpoints, mark.path)


def give_to_owner(folder: Path, *files: Path) -> None:
    """Root copies for an agent with a user of its own, who could not open files of root."""
    owner = folder.stat()
    if os.geteuid() == 0 != owner.st_uid:
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, owner.st_uid, owner.st_gid)


def _text(checkpoints: Sequence[Checkpoint]) -> bytes:
    """The content of a checkpoint file."""
    return b"".join(encoded(line) + b"\n" for line in checkpoints)
