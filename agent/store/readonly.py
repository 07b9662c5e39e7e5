"""What people and metrics read: the state file through a connection that cannot write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.record import Record
from agent.store.claims import COLUMNS, stored_claims
from agent.store.claims_keyring import StoredClaims
from agent.store.connection import open_reader, readable, refuse_damaged
from agent.store.identity_key import carried_key
from agent.store.image_deletions import FailedImageDeletion
from agent.store.repository import OTHER_SOURCE, OWNERS, PRESENT, STARTS_SINCE, VALUE_PREFIX, load
from agent.store.rollback_detection import detect_rollback

_FAILED_IMAGE_DELETIONS = """
SELECT uid, tries, since, due_at, cause FROM image_deletions WHERE tries > 0
UNION ALL
SELECT uid, tries, since, due_at, cause FROM superseded_images INDEXED BY superseded_images_owed
WHERE done_at IS NULL AND tries > 0
"""
_FOUND_ORPHANS = "SELECT DISTINCT dossier_id FROM orphans WHERE closed_at IS NULL AND dossier_id IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A document that was refused at the last scan."""

    file: str
    line: int
    column: int
    message: str
    hint: str
    name: str | None  # when it could be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One effect that changes the remote, and how Assure answered. `result` is None while it is not answered."""

    number: int
    generation: int
    effect: str
    intended_at: float
    answered_at: float | None
    result: str | None  # done | refused | busy | unknown
    status: int | None  # HTTP
    trouble: str | None
    cause: str | None
    trace_id: str | None
    shape: str | None  # names and types of the keys of the answer's body
    digest: str | None  # of the answer's body


class ReadOnlyStore:
    """The state file, read-only; it may be in use by an agent. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._connection.close()
        if error is not None:
            with readable(self._path):
                raise error

    def all(self) -> Iterator[Record]:
        """Every record that still has its name, by name."""
        sql = "SELECT record FROM requests WHERE name IS NOT NULL ORDER BY name"
        return (load(row[0]) for row in self._connection.execute(sql))

    def find(self, name: str) -> list[Record]:
        """The records of this name, one for each source that has it; or the one of this uid, as logs have it."""
        for which in ("name = ?", "uid = ? AND name IS NOT NULL"):
            sql = f"SELECT record FROM requests WHERE {which}"  # noqa: S608 - ours
            if found := [load(row[0]) for row in self._connection.execute(sql, (name,))]:
                return found
        return []

    def get(self, uid: str) -> Record | None:
        """The record of this uid, whether or not its name was erased."""
        row = self._connection.execute("SELECT record FROM requests WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else load(row[0])

    def present(self, source: str) -> dict[str, str]:
        """The names of a source whose files are there, as far as the agent knows, with their uids."""
        return dict(self._connection.execute(PRESENT, (source,)).fetchall())

    def withdrawn_since(self, at: float) -> int:
        """How many files were taken away before the outcome since then, those that are back among them."""
        return self._one("SELECT count(*) FROM withdrawals WHERE at >= ?", at)

    def last_event_at(self) -> float:
        """When the last event was, in seconds since the epoch; 0 when there is none."""
        row = self._row("SELECT at FROM events ORDER BY id DESC LIMIT 1")
        return 0.0 if row is None else float(row[0])

    def starts_since(self, at: float) -> int:
        """How many starts were reserved since then, or made or begun without a brake."""
        return self._one(STARTS_SINCE, at)

    def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """Whose these dossiers are: the uid of the request that is not done and has it, by dossier."""
        if not dossiers:
            return {}
        return dict(self._connection.execute(OWNERS, (orjson.dumps(dossiers).decode(),)).fetchall())

    def recall(self, key: str) -> str | None:
        """A value that the agent keeps of this account."""
        row = self._row("SELECT value FROM meta WHERE key = ?", VALUE_PREFIX + key)
        return None if row is None else str(row[0])

    def check_integrity(self) -> None:
        """Look at every page. Raises StoreDamaged."""
        refuse_damaged(self._path, self._connection)

    def freeze(self) -> None:
        """From here on everything is read from one snapshot, whatever an agent commits meanwhile."""
        self._connection.execute("BEGIN")

    def attempts(self, uid: str, most: int) -> list[Attempt]:
        """The last attempts of a request, oldest first."""
        answer = "result, status, trouble, cause, trace_id, shape, digest"
        columns = f"number, generation, effect, intended_at, answered_at, {answer}"
        sql = f"SELECT {columns} FROM attempts WHERE uid = ? ORDER BY number DESC LIMIT ?"  # noqa: S608 - names of ours
        names = columns.split(", ")
        rows = self._connection.execute(sql, (uid, most)).fetchall()
        return [Attempt(**dict(zip(names, row, strict=True))) for row in reversed(rows)]

    def link(self, uid: str) -> str | None:
        """The capture link, while a person may still use it: a bearer secret."""
        row = self._connection.execute("SELECT link FROM links WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else str(row[0])

    def has_lost_link(self, record: Record) -> bool:
        """True when a person is waited for, and their link was lost with the state file; no backup has any."""
        return record.capturing and self.link(record.uid) is None

    def claims(self, uid: str) -> StoredClaims | None:
        """The sealed claims of a request; of its newest generation that has any."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE uid = ? ORDER BY generation DESC"  # noqa: S608 - names of ours
        row = self._row(sql, uid)
        return None if row is None else stored_claims(row)

    def refusals(self) -> list[Refusal]:
        """What the last scan refused, by file and line."""
        sql = "SELECT file, line, col, message, hint, name FROM refusals ORDER BY file, line, col"
        return [
            Refusal(file=row[0], line=row[1], column=row[2], message=row[3], hint=row[4], name=row[5])
            for row in self._connection.execute(sql)
        ]

    def refused(self, name: str) -> list[Refusal]:
        """What the last scan refused of this name."""
        return [refusal for refusal in self.refusals() if refusal.name == name]

    def scan_notes(self, uid: str) -> list[ScanNote]:
        """What the last scan saw of a request, and its record does not say."""
        rows = self._connection.execute("SELECT kind, hold_id FROM scan_notes WHERE uid = ?", (uid,))
        return [ScanNote(uid=uid, kind=ScanNoteKind(kind), hold_id=hold_id) for kind, hold_id in rows]

    def strays(self) -> list[str]:
        """The names of requests whose file answers no open hold, as of the last scan."""
        sql = "SELECT name FROM scan_notes JOIN requests USING (uid) WHERE kind = ? AND name IS NOT NULL ORDER BY name"
        return [row[0] for row in self._connection.execute(sql, (ScanNoteKind.STRAY_ANSWER,))]

    def waiting_withdrawals(self) -> int:
        """Withdrawals that wait for an approval."""
        return int(self._connection.execute("SELECT coalesce(sum(waiting), 0) FROM sources").fetchone()[0])

    def counts(self) -> dict[tuple[str, str], int]:
        """Requests by phase and state; those that are done by state `done` or `held`."""
        sql = (
            "SELECT phase, CASE WHEN phase = 'done' AND reason <> '' THEN 'held' ELSE state END AS shown, sum(requests)"
            " FROM request_counts GROUP BY phase, shown"
        )
        return {("done", "held"): 0, ("done", "done"): 0} | {
            (row[0], row[1]): int(row[2]) for row in self._connection.execute(sql)
        }

    def counters(self, counter: str) -> list[tuple[str, str, str, int]]:
        """Counters true across restarts: mode, process type, outcome, value."""
        sql = "SELECT mode, process_type, outcome, value FROM counters WHERE counter = ?"
        return [tuple(row) for row in self._connection.execute(sql, (counter,))]

    def migrations(self) -> set[str]:
        """The names of the migrations that were applied."""
        sql = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'assure-agent'"
        return {row[0] for row in self._connection.execute(sql)}

    def account(self) -> str | None:
        """The Assure account that the file belongs to."""
        row = self._row("SELECT value FROM meta WHERE key = 'account'")
        return None if row is None else str(row[0])

    def other_source(self, source: str) -> str | None:
        """The source that the store follows, when it follows none of this name."""
        (found,) = self._connection.execute(OTHER_SOURCE, {"source": source}).fetchone()
        return None if found is None else str(found)

    def recovery(self) -> tuple[str, bool, bool] | None:
        """Why the file is not what it was, as `run` knows or would find; was Assure asked, and did a person approve.

        None while all is as usual. To be asked first in a snapshot.
        """
        why = detect_rollback(self._connection, self._path)
        if why is not None:
            return why, False, False
        sql = "SELECT cause, scanned_at IS NOT NULL, approved_at IS NOT NULL FROM recoveries WHERE closed_at IS NULL"
        row = self._row(sql)
        return None if row is None else (str(row[0]), bool(row[1]), bool(row[2]))

    def carried_key(self) -> str | None:
        """The key in hex, when this is a backup that no agent has opened yet."""
        return carried_key(self._connection)

    def progress_counts(self) -> tuple[int, int, int]:
        """How many requests there are, how many of them go on by themselves, and how many are held."""
        moving = self._one("SELECT count(*) FROM requests WHERE moving")
        held = self._one("SELECT coalesce(sum(requests), 0) FROM request_counts WHERE reason <> ''")
        return self._one("SELECT coalesce(sum(requests), 0) FROM request_counts"), moving, held

    def held(self) -> list[tuple[str, int]]:
        """Held requests by reason."""
        sql = """
            SELECT reason, sum(requests) FROM request_counts WHERE reason <> ''
            GROUP BY reason HAVING sum(requests) > 0
        """
        return [(row[0], row[1]) for row in self._connection.execute(sql)]

    def overdue(self, now: float) -> int:
        """Deletions that are due for more than 15 minutes."""
        sql = "SELECT count(*) FROM requests INDEXED BY requests_deleting WHERE phase = 'deletion' AND delete_at < ?"
        return self._one(sql, now - 900)

    def failed_image_deletions(self) -> list[tuple[str, int]]:
        """Why image files could not be deleted that should be (the name of an errno), and of how many requests."""
        sql = f"SELECT cause, count(DISTINCT uid) FROM ({_FAILED_IMAGE_DELETIONS}) GROUP BY cause ORDER BY 2 DESC"  # noqa: S608 - ours
        return [(str(row[0]), int(row[1])) for row in self._connection.execute(sql)]

    def failed_image_deletion_of(self, uid: str) -> FailedImageDeletion | None:
        """The deletion of this request's image files, when it failed."""
        row = self._row(f"SELECT tries, since, due_at, cause FROM ({_FAILED_IMAGE_DELETIONS}) WHERE uid = ?", uid)  # noqa: S608 - ours
        return None if row is None else FailedImageDeletion(tries=row[0], since=row[1], due_at=row[2], cause=row[3])

    def gauges(self, now: float) -> dict[str, float]:
        """Single figures: open dossiers and their age, the oldest without progress, overdue deletions, orphans."""
        sql = "SELECT coalesce(sum(requests), 0) FROM request_counts WHERE dossier AND phase <> 'done'"
        open_dossiers = self._one(sql)
        dossier = "SELECT min(admitted_at) FROM requests WHERE dossier_id IS NOT NULL AND phase <> 'done'"
        progress = "SELECT min(progress_at) FROM requests WHERE state = 'active' AND phase <> 'done'"
        (oldest_dossier,), (oldest_progress,) = self._row(dossier), self._row(progress)
        overdue = self.overdue(now)
        showed = [row[0] for row in self._connection.execute(_FOUND_ORPHANS)]
        size = sum(path.stat().st_size for path in self._path.parent.glob(self._path.name + "*"))
        return {
            "store_bytes": size,
            "open_dossiers": open_dossiers,
            "oldest_open_dossier_seconds": now - oldest_dossier if oldest_dossier else 0.0,
            "oldest_unprogressed_seconds": now - oldest_progress if oldest_progress else 0.0,
            "deletions_overdue": overdue,
            "images_undeleted": self._one(f"SELECT count(DISTINCT uid) FROM ({_FAILED_IMAGE_DELETIONS})"),  # noqa: S608 - ours
            "claims_overdue": self._one("SELECT count(*) FROM claims WHERE expires_at < ?", now - 900),
            "paused": float(bool(self.recall("paused"))),
            "backup_timestamp_seconds": float(self.recall("backed-up") or 0.0),
            "deliveries_pending": self._one("SELECT count(*) FROM deliveries"),
            "possible_orphans": self._one("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "orphans_undeleted": len(showed) - len(self.owners(showed)),
        }

    def _row(self, sql: str, *values: Any) -> Any:
        return self._connection.execute(sql, values).fetchone()

    def _one(self, sql: str, *values: Any) -> int:
        return int(self._row(sql, *values)[0])
