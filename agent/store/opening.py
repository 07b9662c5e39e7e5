"""The checks and writes of an agent that opens a store: its account, its key, and whether it is an older copy."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import StoreDamaged, StoreError, StoreLocked
from agent.ports import MetaKey
from agent.ports.key_value import REMEMBERED
from agent.store.account_binding import may_bind, simulated
from agent.store.identity_key import Keys
from agent.store.operator_commands import Note, note_text
from agent.store.reading.common_reads import recall
from agent.store.reading.reads import Read, row, value
from agent.store.rollback_detection import HighWaterMark, Witnesses, last_event, lost_cause, rollback_cause
from agent.store.writing.statements import REMEMBER, Statement

_BEGIN_RECOVERY = """
INSERT INTO recoveries (id, at, cause, known, kept, backup_at)
SELECT (SELECT coalesce(max(id), 0) + 1 FROM recoveries), ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM recoveries WHERE at = ?)
"""
_CLOSE_OTHERS = "UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL AND at <> ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The life of a process on a database that several replicas share."""

    epoch: str
    others: bool  # other replicas live
    unproved: bool  # the database has another lineage than before, and no replica and no mark proves that it is current


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStore:
    """The result. The caller executes `statements`, in one transaction."""

    keys: Keys
    mark: HighWaterMark
    simulated: bool  # its account is the built-in sandbox
    statements: list[Statement]
    older: bool  # a recovery begins, so an earlier mark says nothing about this store
    facts: dict[str, str]  # what the first of several replicas writes to `meta`


def open_checked(
    files: Path,
    where: str,
    fresh: bool,
    seen: Witnesses,
    account: str | None,
    rebind: bool,
    key_file: Path | None = None,
    life: Life | None = None,
) -> Read[OpenedStore]:
    """Check a store with the current schema, and begin its mark, durably.

    `files`: the state file, or the path that the names of the local files begin with. `where` names the store in
    errors. `fresh`: this process created it. `seen`: the witnesses before that. `key_file`: KEY_FILE.
    `life`: with a database.

    Raises StoreForeign for a store of another account, and StoreDamaged for a missing or another key. Raises StoreError
    for a store that was copied to another one, or an unfinished copy.
    """
    yield from _refuse_copied(where)
    bound, statements = yield from _bind(where, account, rebind, life)
    keys = yield from _keys(files, where, key_file, shared=life is not None)
    mark = HighWaterMark(files)
    cause = lost_cause(seen) if fresh else (yield from rollback_cause(seen))
    if cause is None and life is not None and life.unproved:
        cause = "older"
    statements += yield from _begin_mark(mark, keys, seen, cause, life)
    statements += yield from _seal_of_empty_chain(keys)
    facts = {str(MetaKey.KEY): keys.fingerprint}
    if bound is not None:
        facts[str(MetaKey.ACCOUNT)] = bound
    return OpenedStore(
        keys=keys,
        mark=mark,
        simulated=simulated(bound),
        statements=statements,
        older=cause not in (None, "lost"),
        facts=facts,
    )


def _bind(where: str, account: str | None, rebind: bool, life: Life | None) -> Read[tuple[str | None, list[Statement]]]:
    """The account of the store, and the statements that bind it. Raises StoreForeign, and StoreLocked for replicas."""
    bound = yield from recall(MetaKey.ACCOUNT)
    statements: list[Statement] = []
    if account is not None:
        others = life is not None and life.others
        used = others or (yield from row("SELECT 1 FROM attempts LIMIT 1")) is not None
        if others and rebind and bound not in (None, account):
            raise StoreLocked(
                f"Other replicas use the {where} for another Assure account ({bound}).", "stop them, and run it again"
            )
        if may_bind(bound, account, used, rebind):
            if bound is not None and bound != account:
                forgotten = (REMEMBERED, REMEMBERED + "\U0010ffff")
                statements.append(Statement.once("DELETE FROM meta WHERE key >= ? AND key < ?", *forgotten))
            statements.append(Statement.once(REMEMBER, MetaKey.ACCOUNT, account))
            bound = account
    return bound, statements


def _refuse_copied(where: str) -> Read[None]:
    """Raise StoreError for a store that `store copy` has replaced or not finished: two agents would share its work."""
    if (moved := (yield from recall(MetaKey.MOVED_TO))) is not None:
        raise StoreError(
            f"The {where} was copied to {moved}, which took its place.",
            f"set STATE_URL to {moved}; or copy that store back with `assure-agent store copy`",
        )
    if (source := (yield from recall(MetaKey.COPY_OF))) is not None:
        raise StoreError(
            f"The {where} holds an unfinished copy of {source}.",
            f"repeat `assure-agent store copy {source} DST`, or set STATE_URL to {source}",
        )


def _keys(files: Path, where: str, key_file: Path | None, shared: bool) -> Read[Keys]:
    """The key of this store: the key file, the key inside a backup, or a new key for a new store.

    Raises StoreDamaged for another key: the agent would treat every request as new, and Assure would bill it again.
    """
    kept, carried = (yield from recall(MetaKey.KEY)), (yield from recall(MetaKey.BACKUP_KEY))
    used = (yield from row("SELECT 1 FROM requests LIMIT 1")) is not None
    bound = used or (shared and kept is not None)  # of several replicas, the first one brings the key
    keys, named = Keys.existing(files, key_file), key_file or files.with_name("agent.key")
    if keys is None and carried is not None:
        keys = Keys.load_or_create(files, carried, key_file)
    if keys is None and bound:
        raise StoreDamaged(
            f"The key file {named} is missing: every request would be verified again.",
            "restore it from the backup of the state folder, or restore a backup made with `assure-agent backup`",
        )
    keys = keys or Keys.load_or_create(files, file=key_file)
    if kept is not None and bound and kept != keys.fingerprint:
        raise other_key(where, named)
    return keys


def other_key(where: str, key: Path) -> StoreDamaged:
    """The error for a store that was written under another key than this file."""
    return StoreDamaged(
        f"The {where} was written under another key than {key}.",
        "restore the key of that store, or set STATE_URL to a store of its own",
    )


def _begin_mark(
    mark: HighWaterMark, keys: Keys, seen: Witnesses, cause: str | None, life: Life | None
) -> Read[list[Statement]]:
    """Begin the mark, and note a recovery if there is a cause. A recovery gives the store a new identity."""
    identity, last = (yield from recall(MetaKey.IDENTITY)), (yield from last_event())
    backup_at = yield from value("SELECT value FROM meta WHERE key = ?", MetaKey.BACKUP_AT)
    if identity is None or (cause is not None and (life is None or cause != "lost")):
        identity = secrets.token_hex(8)
    head = (yield from value("SELECT hash FROM events WHERE id = ?", last)) if life is not None else None
    # before the commit, so that a crash between the two raises no false alarm
    mark.begin(identity, last, head or "", "" if life is None else life.epoch)
    statements = [
        Statement.once(REMEMBER, MetaKey.IDENTITY, identity),
        Statement.once(REMEMBER, MetaKey.KEY, keys.fingerprint),
        Statement("DELETE FROM meta WHERE key = ?", [(MetaKey.BACKUP_AT,), (MetaKey.BACKUP_KEY,)]),
    ]
    if cause is not None:
        known, now = seen.mark.events if seen.mark is not None else None, time.time()
        if seen.checkpoint is not None:
            statements.append(Statement.once(REMEMBER, MetaKey.ABANDONED_CHECKPOINT, str(seen.checkpoint.number)))
        statements.append(Statement.once(_CLOSE_OTHERS, now, now))
        statements.append(Statement.once(_BEGIN_RECOVERY, now, cause, known, last, backup_at, now))
    return statements


def _seal_of_empty_chain(keys: Keys) -> Read[list[Statement]]:
    """Seal the note of a store without commands, at its first start."""
    note = Note.parse((yield from recall(MetaKey.COMMANDS)))
    if note is None or note.seal or (yield from row("SELECT 1 FROM commands LIMIT 1")) is not None:
        return []
    return [Statement.once(REMEMBER, MetaKey.COMMANDS, note_text(keys, 0, ""))]
