"""Builds stores as they are after years, in minutes.

The real core processes a few requests and the real store writes them. Plain SQL then copies their rows under other
uids, names and ids. Each copy has its own hash chain, so `audit verify` accepts such a store. Copies are written in
the order of their uids, so that the disk alone limits the speed.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson

from agent.core.answer import Evidence
from agent.core.effect import EffectKind
from agent.core.observations import DocumentRemoved, EffectRefused, TimerFired
from agent.core.record import Phase
from agent.core.request import essence
from agent.source.loader import load
from agent.store.digests import LABELS, NAME, RequestDigests
from agent.store.identity_key import Keys
from agent.store.repository import event_hash
from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.store import SqliteStore
from verification.builders.lives import Life
from verification.builders.records import upload

AGENT = "bench"  # AGENT_ID
SOURCE = "default"  # SOURCE_NAME. A scan misses no file of the source `elsewhere`
DAY = 86400.0
_TABLES = ("requests", "events", "attempts", "starts", "reservations")
_COUNT = """
INSERT INTO request_counts (phase, state, reason, dossier, requests)
SELECT phase, state, coalesce(hold_reason, ''), dossier_id IS NOT NULL, count(*) FROM requests GROUP BY 1, 2, 3, 4
"""
CHUNK = 5000  # requests in a transaction
_UID, _NAME = "f" * 24, "name-of-a-person-in-a-pattern"
_DOCUMENT = (
    "digest-in-a-pattern",
    "essence-in-a-pattern",
    "file-in-a-pattern",
)  # the placeholders for `SyntheticRequest.more`


@dataclass(frozen=True, slots=True)
class SyntheticRequest:
    """One request of a grown store, and its objects at Assure."""

    uid: str
    name: str
    more: tuple[str, str, str] = ("", "", "")  # digest and essence of its document, and the file

    @property
    def dossier(self) -> str:
        """A UUID, as Assure's ids are."""
        return _uuid(self.uid + "00000000")

    @property
    def process(self) -> str:
        """A second UUID."""
        return _uuid(self.uid + "00000001")

    @property
    def reference(self) -> str:
        """The agent's external reference."""
        return f"aa-{AGENT}-{self.uid}-1-1"


def settled(at: float) -> Life:
    """Verified, deleted, and its file removed."""
    life = Life(_UID, at=at, name=_NAME, agent=AGENT, source="elsewhere").until(Phase.DONE)
    life.sees(DocumentRemoved)
    return life


def waiting(at: float, followed: bool = False) -> Life:
    """Started and waiting for its result. With `followed` its file is in the folder."""
    digest, essence, file = _DOCUMENT
    desired = upload(back=False, digest=digest, essence=essence, file=file, line=1) if followed else upload(back=False)
    source = SOURCE if followed else "elsewhere"
    return Life(_UID, desired, at, name=_NAME, agent=AGENT, source=source).until(Phase.RESULT)


def failing(due: float) -> Life:
    """Deletion failed so often that the agent retries it about once a minute, next at `due`."""
    return _failing(due - (_failing(0.0).record.due_at or 0.0))


def _failing(at: float, tries: int = 9) -> Life:
    life = Life(_UID, at=at, name=_NAME, agent=AGENT, source="elsewhere").until(Phase.DELETION)
    while life.record.failures < tries:
        if life.record.intent is None:
            life.at = max(life.at, life.record.due_at or 0.0)
            life.sees(TimerFired)
        life.sees(EffectRefused, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=400))
    return life


def begin(path: Path) -> Keys:
    """Create an empty store. Return its key."""
    store = SqliteStore(path, None)
    keys = store.keys
    store.close()
    return keys


def named(keys: Keys, names: Iterable[str]) -> list[SyntheticRequest]:
    """Requests without files."""
    return [SyntheticRequest(keys.uid("elsewhere", name), name) for name in names]


def filed(keys: Keys, specs: Path, names: Iterable[str]) -> list[SyntheticRequest]:
    """Requests with files in this folder."""
    found = []
    for name in names:
        (document,) = load((specs / f"{name}.yaml").read_bytes(), f"{name}.yaml").documents
        digests = keys.digest(document.canonical), keys.digest(essence(document.canonical))
        found.append(SyntheticRequest(keys.uid(SOURCE, name), name, (*digests, document.file)))
    return found


def write_store(path: Path, lives: Sequence[Life], requests: Iterable[SyntheticRequest]) -> list[SyntheticRequest]:
    """Add these requests to a closed store, with these lives in turn."""
    requests = sorted(requests, key=lambda one: one.uid)
    keys = Keys.load_or_create(path)
    patterns = [Pattern(life, keys) for life in lives]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-1000000")
        event = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
        turns = cycle(patterns)
        for start in range(0, len(requests), CHUNK):
            connection.execute("BEGIN")
            for request in requests[start : start + CHUNK]:
                pattern = next(turns)
                rows, event = pattern.copy(request, event)
                for table, columns in pattern.columns.items():
                    values = ", ".join("?" * len(columns))
                    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", rows[table])
            connection.execute("COMMIT")
        connection.execute("DELETE FROM request_counts")
        connection.execute(_COUNT)
    asyncio.run(_kept(path))
    return requests


async def _kept(path: Path) -> None:
    """Write the high-water mark and the last checkpoint, as a stopped agent leaves them."""
    store = SqliteStore(path, None)
    await store.checkpoint(0.0)
    store.close()


class Pattern:
    """The rows that the store wrote for one life, as a template for copies. Placeholders mark the differing values."""

    def __init__(self, life: Life, keys: Keys) -> None:
        with tempfile.TemporaryDirectory() as name:
            rows = asyncio.run(_written(Path(name) / "agent.db", life))
        self._record, self._keys = life.record, keys
        record = life.record
        self._salt = rows["requests"][0]["salt"]
        admitted = orjson.loads(rows["events"][0]["changes"])
        ids = [word for word in (record.dossier_id, record.process_id) if word is not None]
        self._placeholders = (*ids, _UID, _NAME, *_DOCUMENT, admitted[NAME], admitted[LABELS])
        self.columns = {table: list(known[0]) for table, known in rows.items() if known}
        self._rows = {table: [_Row(row, self._placeholders) for row in known] for table, known in rows.items()}
        event, request = list(rows["events"][0]), list(rows["requests"][0])
        self._id, self._hash, self._head = event.index("id"), event.index("hash"), request.index("head")
        self._values = [event.index(name) for name in ("uid", "seq", "at", "type", "changes")]

    def copy(self, request: SyntheticRequest, event: int) -> tuple[dict[str, list[list[Any]]], int]:
        """The rows for this request by table, in the order of `columns`, and the number of its last event.

        Its events follow `event`.
        """
        ids = (request.dossier, request.process)[: self._placeholders.index(_UID)]
        sealer = RequestDigests(self._keys, request.uid, self._salt)
        digests = sealer.name(self._record.source, request.name), sealer.labels(self._record.desired.labels)
        parts = (*ids, request.uid, request.name, *request.more, *digests)
        pairs = list(zip(self._placeholders, parts, strict=True))
        rows = {table: [row.copy(pairs) for row in known] for table, known in self._rows.items()}
        head = ""
        for row in rows["events"]:
            event += 1
            head = event_hash(head, *(row[place] for place in self._values))
            row[self._id], row[self._hash] = event, head
        rows["requests"][0][self._head] = head
        return rows, event


class _Row:
    """One row of a table, and the positions of its placeholders."""

    def __init__(self, row: dict[str, Any], placeholders: Sequence[str]) -> None:
        self._values = list(row.values())
        texts = [(place, value) for place, value in enumerate(self._values) if isinstance(value, str)]
        self._places = [place for place, value in texts if any(one in value for one in placeholders)]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        """The values, with the placeholders replaced."""
        values = list(self._values)
        for place in self._places:
            text = values[place]
            for part, other in pairs:
                text = text.replace(part, other)
            values[place] = text
        return values


async def _written(path: Path, life: Life) -> dict[str, list[dict[str, Any]]]:
    store = SqliteStore(path, None)
    for step in life.steps:
        await store.commit([step])
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = {}
        for table in _TABLES:
            rows = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            found[table] = [dict(zip(names, row, strict=True)) for row in rows]
        return found


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
