"""Reads of single requests and of their history, for commands, the API and the status page."""

from collections.abc import Iterator
from dataclasses import fields

import orjson

from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.record import Origin, Record
from agent.ports.store import Attempt, FailedImageDeletion
from agent.store.read_results import HistoryEntry, Refusal
from agent.store.reading.request_lists import RequestLists
from agent.store.repository import load
from agent.store.stored_claims import COLUMNS, StoredClaims, stored_claims

_LAST = "\U0010ffff"  # the last character: no name has it
FAILED_IMAGE_DELETIONS = """
SELECT uid, tries, since, due_at, cause FROM image_deletions WHERE tries > 0
UNION ALL
SELECT uid, tries, since, due_at, cause FROM superseded_images INDEXED BY superseded_images_owed
WHERE done_at IS NULL AND tries > 0
"""


class RequestQueries(RequestLists):
    """Reads of requests."""

    def all(self) -> Iterator[Record]:
        """Every record that still has its name, by name. Read row by row, because there may be many."""
        sql = "SELECT record FROM requests WHERE name IS NOT NULL ORDER BY name"
        return (load(row[0]) for row in self.stream(sql))

    def find(self, name: str) -> list[Record]:
        """The records of this name, one for each source that has it. If there is none: the record of this uid."""
        for condition in ("name = ?", "uid = ? AND name IS NOT NULL"):
            if found := self._records(f"SELECT record FROM requests WHERE {condition}", name):  # noqa: S608 - constant
                return found
        return []

    def changed_after(self, event: int) -> list[Record]:
        """The requests that have events after this one, by their last event. Every step has an event."""
        # NOT INDEXED: SQLite would scan the index by uid for GROUP BY, instead of seeking the id
        sql = "SELECT uid FROM events NOT INDEXED WHERE id > ? GROUP BY uid ORDER BY max(id)"
        return self._named(self._column(sql, event))

    def names(self, start: str, limit: int) -> list[str]:
        """At most `limit` names of requests that begin with `start`, in order."""
        sql = "SELECT DISTINCT name FROM requests WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
        return self._column(sql, start, start + _LAST, limit)

    def names_around(self, name: str, limit: int) -> list[str]:
        """At most `limit` names before this one and `limit` after it. It costs two seeks in any number of names."""
        named = "SELECT DISTINCT name FROM requests WHERE name IS NOT NULL AND"
        before = self._column(f"{named} name < ? ORDER BY name DESC LIMIT ?", name, limit)
        return before + self._column(f"{named} name > ? ORDER BY name LIMIT ?", name, limit)

    def by_state(self, state: str, limit: int, oldest: bool = False) -> list[Record]:
        """Requests in this state, by their last progress: the latest first, or the oldest."""
        order = "progress_at, uid" if oldest else "progress_at DESC, uid DESC"
        sql = f"SELECT record FROM requests WHERE state = ? AND name IS NOT NULL ORDER BY {order} LIMIT ?"  # noqa: S608 - constant
        return self._records(sql, state, limit)

    def history(self, uid: str, most: int) -> list[HistoryEntry]:
        """The last entries of the audit history, oldest first."""
        sql = "SELECT seq, at, type, changes FROM events WHERE uid = ? ORDER BY seq DESC LIMIT ?"
        return [
            HistoryEntry(seq=seq, at=at, type=kind, changes=orjson.loads(changes))
            for seq, at, kind, changes in reversed(self.query(sql, (uid, most)))
        ]

    def origin(self, uid: str, generation: int) -> Origin | None:
        """The origin of the file of a generation, as far as it is known."""
        sql = "SELECT author, file_commit, signer FROM provenance WHERE uid = ? AND generation = ?"
        row = self._row(sql, uid, generation)
        return None if row is None else Origin(author=row[0], file_commit=row[1], signer=row[2])

    def attempts(self, uid: str, most: int) -> list[Attempt]:
        """The last attempts of a request, oldest first."""
        names = [field.name for field in fields(Attempt)]
        sql = f"SELECT {', '.join(names)} FROM attempts WHERE uid = ? ORDER BY number DESC LIMIT ?"  # noqa: S608 - fields
        return [Attempt(**dict(zip(names, row, strict=True))) for row in reversed(self.query(sql, (uid, most)))]

    def link(self, uid: str) -> str | None:
        """The capture link while the end user may still use it: a bearer secret."""
        link = self._value("SELECT link FROM links WHERE uid = ?", uid)
        return None if link is None else self._opened_link(uid, str(link))

    def _opened_link(self, uid: str, stored: str) -> str | None:
        """The capture link, as this engine keeps it; None if it cannot be read."""
        return stored

    def has_lost_link(self, record: Record) -> bool:
        """True if the end user has not finished, and the link was lost with the store. Backups have no links."""
        return record.capturing and self.link(record.uid) is None

    def claims(self, uid: str) -> StoredClaims | None:
        """The encrypted claims of the newest generation that has any."""
        row = self._row(f"SELECT {COLUMNS} FROM claims WHERE uid = ? ORDER BY generation DESC LIMIT 1", uid)  # noqa: S608 - constant
        return None if row is None else stored_claims(row)

    def failed_image_deletion_of(self, uid: str) -> FailedImageDeletion | None:
        """The failed deletion of this request's image files."""
        sql = f"SELECT tries, since, due_at, cause FROM ({FAILED_IMAGE_DELETIONS}) AS failed WHERE uid = ?"  # noqa: S608 - constant
        row = self._row(sql, uid)
        return None if row is None else FailedImageDeletion(tries=row[0], since=row[1], due_at=row[2], cause=row[3])

    def refusals(self) -> list[Refusal]:
        """The documents that the last scan refused, by file and line."""
        sql = "SELECT file, line, col, message, hint, name FROM refusals ORDER BY file, line, col"
        return [
            Refusal(file=file, line=line, column=column, message=message, hint=hint, name=name)
            for file, line, column, message, hint, name in self.query(sql)
        ]

    def refused(self, name: str) -> list[Refusal]:
        """The documents of this name that the last scan refused."""
        return [refusal for refusal in self.refusals() if refusal.name == name]

    def scan_notes(self, uid: str) -> list[ScanNote]:
        """The notes of the last scan about a request. Its record does not have them."""
        rows = self.query("SELECT kind, hold_id FROM scan_notes WHERE uid = ?", (uid,))
        return [ScanNote(uid=uid, kind=ScanNoteKind(kind), hold_id=hold_id) for kind, hold_id in rows]

    def strays(self) -> list[str]:
        """The names of requests whose file answers no open hold, according to the last scan."""
        sql = "SELECT name FROM scan_notes JOIN requests USING (uid) WHERE kind = ? AND name IS NOT NULL ORDER BY name"
        return self._column(sql, ScanNoteKind.STRAY_ANSWER)
