"""The writes of a store that are not steps, by statements that both engines execute."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable

from agent.core.admission import ScanNote
from agent.core.errors import StoreAway
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionState
from agent.ports import MetaKey
from agent.store.audit.checkpoint_file import Checkpoints
from agent.store.audit.checkpoints import Checkpoint
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.reading.loop_reads import LoopReads
from agent.store.revisions import COLUMNS, after_refresh, after_scan, revision_values
from agent.store.writing.claims import Claims
from agent.store.writing.image_deletions import ImageDeletions
from agent.store.writing.inbox import ReceiptTable
from agent.store.writing.outbox import NotificationTable
from agent.store.writing.recoveries import RecoveryTable
from agent.store.writing.statements import REMEMBER, Statement, marks

_SCANNED = """
INSERT INTO sources (source, synced_at, files, complete, waiting) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source) DO UPDATE SET synced_at = excluded.synced_at, files = excluded.files,
    complete = excluded.complete, waiting = excluded.waiting
"""
_REVISION = f"""
INSERT INTO source_revisions (source, {", ".join(COLUMNS)}) VALUES (?, {marks(COLUMNS)})
ON CONFLICT (source) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS)}
"""  # noqa: S608 - constant


class StoreWrites(LoopReads):
    """Reads and writes that only need the queries and statements of an engine."""

    @property
    def database_time(self) -> Callable[[], float] | None:
        """None: a state file has the clock of the host."""
        return None

    @property
    def behind(self) -> bool:
        """False: the mark is compared when a state file is opened."""
        return False

    @property
    def away(self) -> bool:
        """True while the server of the database does not answer. A state file has no server."""
        return False

    def refuse_away(self) -> None:
        """Raise StoreAway while the server does not answer. A caller that must not wait calls it first."""
        if self.away:
            raise StoreAway(
                "The database does not answer.", "the agent continues automatically when it does; then try again"
            )

    @abstractmethod
    async def execute(self, *statements: Statement) -> list[int]:
        """Execute these in their order in one transaction, durably. Returns how many rows each one changed."""

    @abstractmethod
    async def tidy(self) -> bool:
        """Remove the old rows of erased data. False: they are still there."""

    def _begin_writes(self, fresh: bool, checkpoints: Checkpoints, keyring: ClaimsKeyring) -> None:
        """Begin to write, at the end of opening. `fresh`: this process created the store."""
        self._checkpoints = checkpoints
        self.claims = Claims(keyring, self, self.tidy)
        self.recoveries = RecoveryTable(self, fresh)
        self.inbox = ReceiptTable(self)
        self.outbox = NotificationTable(self)
        self.image_deletions = ImageDeletions(self)

    async def checkpoint(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a checkpoint if the journal grew since the last one [I5]. Raises MalformedCheckpoint."""
        self.refuse_away()
        taken = await asyncio.to_thread(self._checkpoints.take, at)
        if taken:
            await self._note(taken[-1])
        return taken

    async def record_restore(self, at: float) -> Checkpoint:
        """Add a checkpoint for a restore by the operator: the journal continues at an earlier event."""
        line = await asyncio.to_thread(self._checkpoints.record_restore, at)
        await self._note(line)
        return line

    async def _note(self, line: Checkpoint) -> None:
        await self.remember(MetaKey.CHECKPOINT, f"{line.number} {line.hash}")

    async def record_scan(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        scan_notes: Iterable[ScanNote] | None = None,
        revision: Revision | None = None,
    ) -> None:
        """Store the result of a scan. `refusals` (file, line, column, message, hint, name) and `scan_notes` replace
        the earlier ones, if given. `revision` of a git source becomes the one that the agent acts on.
        """
        statements = [Statement.once(_SCANNED, source, at, files, int(complete), waiting)]
        if refusals is not None:
            rows = [(source, *refusal) for refusal in refusals]
            statements.append(Statement.once("DELETE FROM refusals WHERE source = ?", source))
            statements.append(Statement("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?)", rows))
        if scan_notes is not None:
            noted = [(source, one.uid, one.kind, one.hold_id) for one in scan_notes]
            statements.append(Statement.once("DELETE FROM scan_notes WHERE source = ?", source))
            statements.append(Statement("INSERT INTO scan_notes VALUES (?, ?, ?, ?)", noted))
        if revision is not None:
            state = after_scan(await self.revision_state(source), at, revision)
            statements.append(_revision(source, state))
        await self.execute(*statements)

    async def record_refresh(
        self, source: str, at: float, fetched: bool, refused: RefusedRevision | None, failure: FetchFailure | None
    ) -> None:
        """Record the result of a refresh. `fetched`: the server reported its head. Writes nothing if nothing changed,
        but `fetched_at` once a minute. A failed refresh clears no refusal.
        """
        known = await self.revision_state(source)
        after = after_refresh(known, at, fetched, refused, failure)
        if after != known:
            await self.execute(_revision(source, after))

    async def remember(self, key: MetaKey, value: str | float | None) -> None:
        """Keep a text or a time. None removes it."""
        if value is None:
            await self.execute(Statement.once("DELETE FROM meta WHERE key = ?", key))
        else:
            await self.execute(Statement.once(REMEMBER, key, value))

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """Close a possible orphan: its deletion is confirmed, or it never appeared."""
        sql = "UPDATE orphans SET closed_at = ?, dossier_id = coalesce(?, dossier_id) WHERE reference = ?"
        await self.execute(Statement.once(sql, at, dossier_id, reference))

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """Record the dossier of a possible orphan. The agent deletes it, unless a request has it."""
        await self.execute(
            Statement.once("UPDATE orphans SET dossier_id = ? WHERE reference = ?", dossier_id, reference)
        )

    async def has_pending_image_deletions(self, uid: str) -> bool:
        """True if an image file of an earlier generation is still to be deleted."""
        return await self.image_deletions.has_pending(uid)

    async def make_claims_unreadable(self, uid: str) -> bool:
        """Make the claims of a request unreadable in this store and in every copy. True: it had claims."""
        leaving = await self.claims.make_all_unreadable(uid)
        await self.claims.erase(leaving)
        return bool(leaving)


def _revision(source: str, state: RevisionState) -> Statement:
    return Statement.once(_REVISION, source, *revision_values(state))
