"""Removes a state file of the sandbox with all that stands beside it, so that the demo begins anew."""

import contextlib
import shutil
from pathlib import Path

from agent.core.errors import StoreError, StoreForeign
from agent.store.account_binding import SANDBOX, account_of
from agent.store.audit.checkpoints import beside
from agent.store.connection import reader, unwritable
from agent.store.lock import FileLock
from agent.store.rollback_detection import Mark

WORLD = "sandbox.json"  # the simulated account, beside the state file


def reset(state: Path) -> None:
    """Remove the state file, its key, mark, checkpoints, keys of claims, replaced files, and the simulated account.

    Raises StoreForeign where it is not a file of `run --sandbox`, StoreLocked while an agent runs, StoreError where
    another state file shares the folder (and so the key) or a file cannot be removed.
    """
    if not state.exists():
        raise StoreError(
            f"There is no state file of the sandbox at {state}.", "start it with `assure-agent run --sandbox`"
        )
    lock = FileLock(state.with_name(state.name + ".lock"))
    try:
        with reader(state) as connection:
            account = account_of(connection)
        if account != SANDBOX:
            raise StoreForeign(
                f"The state file {state} belongs to {account or 'no account yet'}, not to the sandbox; it is kept.",
                "leave STATE_URL out: the sandbox's own is state/sandbox/agent.db",
            )
        replaced = set(state.parent.glob("replaced-*.db*"))
        if others := set(state.parent.glob("*.db")) - replaced - {state}:
            raise StoreError(
                f"{min(others)} shares the folder, and the key, with {state}; both are kept.",
                "move the one that you want to keep, with a copy of agent.key, to a folder of its own",
            )
        _remove(state, replaced)
    except OSError as error:
        raise unwritable(state.parent, error) from None
    finally:
        lock.release()
    with contextlib.suppress(OSError):
        state.with_name(state.name + ".lock").unlink()


def _remove(state: Path, replaced: set[Path]) -> None:
    """The state file goes last, so that a reset that was interrupted can be repeated."""
    shutil.rmtree(state.with_name("keys"), ignore_errors=True)
    logs = [state.with_name(state.name + suffix) for suffix in ("-wal", "-shm")]
    rest = [state.with_name("agent.key"), Mark(state).path, beside(state), state.with_name(WORLD), *replaced]
    for path in (*logs, *rest, state):
        path.unlink(missing_ok=True)
