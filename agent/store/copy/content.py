"""The content of a store, for the comparison of two: each row by a digest, the journal, and the chains of events."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.store.audit.checkpoints import Checkpoint, extend_digest
from agent.store.copy.sides import TABLES, Row, Side
from agent.store.repository import event_hash

Advance = Callable[[int], object]  # receives the number of rows that were read
_CHAINED = ("uid", "seq", "at", "type", "changes", "hash")
_JOURNAL = "SELECT id, hash FROM events ORDER BY id"
_LOOSE = """
SELECT requests.uid FROM requests LEFT JOIN events ON events.uid = requests.uid AND events.seq = requests.seq
WHERE events.hash IS NULL OR events.hash <> requests.head
    OR EXISTS (SELECT 1 FROM events AS later WHERE later.uid = requests.uid AND later.seq > requests.seq)
"""


@dataclass(slots=True)
class Content:
    """The content of a store."""

    rows: dict[str, int] = field(default_factory=dict)  # by table
    digests: dict[str, str] = field(default_factory=dict)  # by table: SHA-256 over all rows
    journal: str = ""  # the digest of all events in the order of writing
    faults: list[str] = field(default_factory=list)  # of the chains, the journal and the checkpoints


async def content_of(side: Side, checkpoints: Iterable[Checkpoint], advance: Advance) -> Content:
    """Read every row, and verify the chains, the journal and the checkpoints that still apply."""
    content = Content()
    for table in TABLES:
        columns, digest, count = await side.columns(table), hashlib.sha256(), 0
        chains = _Chains(columns) if table == "events" else None
        async for rows in side.rows(table, columns):
            for row in rows:
                digest.update(repr(row).encode())
            if chains is not None:
                chains.follow(rows)
            count += len(rows)
            advance(len(rows))
        content.rows[table], content.digests[table] = count, digest.hexdigest()
        content.faults += chains.faults if chains is not None else []
    async for page in side.pages(_LOOSE):
        content.faults += [f"the history of {uid} does not end at its last event" for (uid,) in page]
    await _read_journal(side, content, checkpoints)
    return content


def differences(source: Content, target: Content, unlike: Collection[str] = ()) -> list[str]:
    """The differences between two stores, in plain words. The tables `unlike` may differ."""
    found = []
    for table in TABLES:
        if table in unlike:
            continue
        if source.rows[table] != target.rows[table]:
            found.append(f"{table}: {source.rows[table]} rows, and {target.rows[table]} in the copy")
        elif source.digests[table] != target.digests[table]:
            found.append(f"{table}: rows differ")
    if source.journal != target.journal:
        found.append("the journal has another digest")
    return found


class _Chains:
    """Verifies the chains of all requests. The events come by request, each in its order."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._at = [columns.index(name) for name in _CHAINED]
        self._last: tuple[str, int, str] = ("", 0, "")  # uid, seq, hash
        self._broken = ""  # the uid with a fault: its later events follow from it
        self.faults: list[str] = []

    def follow(self, rows: Sequence[Row]) -> None:
        """Verify the next events."""
        for row in rows:
            uid, seq, *fields, digest = (row[at] for at in self._at)
            known, last, previous = self._last
            last, previous = (last, previous) if known == uid else (0, "")
            if self._broken != uid and (seq != last + 1 or _hash(previous, uid, seq, *fields) != digest):
                self._broken = uid
                self.faults.append(f"event {seq} of {uid} is not what was written")
            self._last = uid, seq, digest


def _hash(*chained: Any) -> str | None:
    """The hash of an event; None for values of a wrong type."""
    try:
        return event_hash(*chained)
    except TypeError:
        return None


async def _read_journal(side: Side, content: Content, checkpoints: Iterable[Checkpoint]) -> None:
    demanded = {line.event: line for line in checkpoints if line.event}
    last = 0
    async for page in side.pages(_JOURNAL):
        for event, digest in page:
            if event != last + 1:
                content.faults.append(f"event {last + 1} is missing")
            content.journal, last = extend_digest(content.journal, digest), event
            line = demanded.pop(event, None)
            if line is not None and line.digest != content.journal:
                content.faults.append(f"checkpoint {line.number} has other events")
    content.faults += [f"checkpoint {line.number} has more events" for line in demanded.values()]
