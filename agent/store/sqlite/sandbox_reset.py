"""Removes the sandbox's state file and all files next to it, so that the demo starts from an empty store."""

import contextlib
import shutil
from pathlib import Path

from agent.core.errors import StoreError, StoreForeign
from agent.store.account_binding import SANDBOX
from agent.store.audit.checkpoints import checkpoint_path
from agent.store.rollback_detection import HighWaterMark
from agent.store.sqlite.connection import folder_error
from agent.store.sqlite.lock import FileLock
from agent.store.sqlite.readonly import ReadOnlyStore

WORLD = "sandbox.json"  # the simulated account, next to the state file


def reset(state: Path) -> None:
    """Remove the state file, its key, mark, checkpoints, claims keys, replaced files, the simulated account, and the
    mirror and revisions of a git source.

    Raises StoreForeign if the file is not from `run --sandbox`, and StoreLocked while an agent runs. Raises StoreError
    if another state file shares the folder and the key, or if a file cannot be removed.
    """
    if not state.exists():
        raise StoreError(
            f"There is no state file of the sandbox at {state}.", "start it with `assure-agent run --sandbox`"
        )
    lock = FileLock(state.with_name(state.name + ".lock"))
    try:
        with ReadOnlyStore(state) as reading:
            account = reading.account()
        if account != SANDBOX:
            raise StoreForeign(
                f"The state file {state} belongs to {account or 'no account yet'}, not to the sandbox; it is kept.",
                "leave STATE_URL unset: the state file of the sandbox is state/sandbox/agent.db",
            )
        replaced = set(state.parent.glob("replaced-*.db*"))
        if others := set(state.parent.glob("*.db")) - replaced - {state}:
            raise StoreError(
                f"{min(others)} shares the folder, and the key, with {state}; both are kept.",
                "move the file that you want to keep, with a copy of agent.key, to another folder",
            )
        _remove(state, replaced)
    except OSError as error:
        raise folder_error(state.parent, error) from None
    finally:
        lock.release()
    with contextlib.suppress(OSError):
        state.with_name(state.name + ".lock").unlink()


def _remove(state: Path, replaced: set[Path]) -> None:
    """Remove the state file last, so that an interrupted reset can be repeated."""
    shutil.rmtree(state.with_name("keys"), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(state.with_suffix(".source"))
    logs = [state.with_name(state.name + suffix) for suffix in ("-wal", "-shm")]
    rest = [
        state.with_name("agent.key"),
        HighWaterMark(state).path,
        checkpoint_path(state),
        state.with_name(WORLD),
        *replaced,
    ]
    for path in (*logs, *rest, state):
        path.unlink(missing_ok=True)
