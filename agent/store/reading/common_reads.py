"""Reads that the loops and the commands share."""

from collections.abc import Sequence

import orjson

from agent.core.errors import StoreDamaged
from agent.core.record import Record
from agent.core.source_revision import RevisionState
from agent.ports import Command, MetaKey, SharedState
from agent.store.reading.reads import Query, Read, records, row, value
from agent.store.revisions import COLUMNS
from agent.store.revisions import revision_state as state_in

# The requests that are not done, by two ranges of the index. `<>` would scan all of it.
OPEN = "requests INDEXED BY requests_by_phase WHERE (phase < 'done' OR phase > 'done')"
_RECORD = "SELECT record FROM requests WHERE uid = ?"
_RECORDS = "SELECT record FROM requests WHERE uid IN (SELECT value FROM json_each(?))"
_PRESENT = """
SELECT name, uid FROM requests INDEXED BY requests_present WHERE source = ? AND present = 1 AND name IS NOT NULL
"""
_OWNERS = """
SELECT dossier_id, uid FROM requests INDEXED BY requests_with_dossier
WHERE dossier_id IS NOT NULL AND phase <> 'done' AND dossier_id IN (SELECT value FROM json_each(?))
"""
# Another source that has files, if this one has none. The query needs two seeks, for any number of requests.
_OTHER_SOURCE = """
SELECT max(source) FROM (
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source < ?1 AND present = 1 AND name IS NOT NULL LIMIT 1) AS before
    UNION ALL
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source > ?1 AND present = 1 AND name IS NOT NULL LIMIT 1) AS after
) AS others WHERE NOT EXISTS (
    SELECT 1 FROM requests INDEXED BY requests_present WHERE source = ?1 AND present = 1 AND name IS NOT NULL
)
"""
# Starts since `?1`: reserved ones, those made without a budget, and those about to be made without one.
_STARTS_SINCE = """
SELECT (SELECT count(*) FROM reservations WHERE at >= ?1)
    + (SELECT count(*) FROM starts WHERE at >= ?1 AND NOT EXISTS
        (SELECT 1 FROM reservations WHERE uid = starts.uid AND generation = starts.generation))
    + (SELECT count(*) FROM requests INDEXED BY requests_by_phase
        WHERE phase IN ('process', 'images', 'verification')
        AND NOT EXISTS (SELECT 1 FROM reservations WHERE uid = requests.uid AND generation = requests.generation)
        AND NOT EXISTS (SELECT 1 FROM starts WHERE uid = requests.uid AND generation = requests.generation))
"""
_REVISION_STATE = f"SELECT {', '.join(COLUMNS)} FROM source_revisions WHERE source = ?"  # noqa: S608 - constant
_SHARED_STATE = """
SELECT (SELECT value FROM meta WHERE key = ?), (SELECT coalesce(max(number), 0) FROM commands),
    (SELECT at FROM recoveries WHERE closed_at IS NULL),
    (SELECT scanned_at FROM recoveries WHERE closed_at IS NULL),
    (SELECT approved_at FROM recoveries WHERE closed_at IS NULL)
"""
_META = "SELECT value FROM meta WHERE key = ?"


def get(uid: str) -> Read[Record | None]:
    """The record of this uid, also after its name was forgotten."""
    return next(iter((yield from records(_RECORD, uid))), None)


def get_many(uids: Sequence[str]) -> Read[dict[str, Record]]:
    """The records of these uids, by uid; without those that the store does not have."""
    found = (yield from records(_RECORDS, texts(uids))) if uids else []
    return {record.uid: record for record in found}


def present(source: str) -> Read[dict[str, str]]:
    """The names and uids of the requests of a source that have a file, according to the last scan."""
    return dict((yield Query(_PRESENT, (source,))))


def other_source(source: str) -> Read[str | None]:
    """Another source of the store, if the store has no file of this one."""
    found: str | None = yield from value(_OTHER_SOURCE, source)
    return found


def revision_state(source: str) -> Read[RevisionState]:
    """The state of this git source; empty if it never was one."""
    found = yield from row(_REVISION_STATE, source)
    try:
        return state_in(found)
    except ValueError:
        raise StoreDamaged(
            "The store is damaged: malformed state of a git source.", "restore the newest backup of the store"
        ) from None


def owners(dossiers: Sequence[str]) -> Read[dict[str, str]]:
    """The uid of the request that is not done and has the dossier, by dossier."""
    found = (yield Query(_OWNERS, (texts(dossiers),))) if dossiers else ()
    return dict(found)


def orphans() -> Read[list[tuple[str, float, str | None]]]:
    """The open possible orphans: reference, since, and the dossier's id once Assure showed it."""
    found = yield Query("SELECT reference, since, dossier_id FROM orphans WHERE closed_at IS NULL")
    return [(reference, since, dossier) for reference, since, dossier in found]


def starts_since(at: float) -> Read[int]:
    """How many starts count since then: reserved ones, and those made or begun without a budget."""
    return int((yield from value(_STARTS_SINCE, at)))


def withdrawn_since(at: float) -> Read[int]:
    """How many files were removed before the outcome since then, also those that are back."""
    return int((yield from value("SELECT count(*) FROM withdrawals WHERE at >= ?", at)))


def last_event_at() -> Read[float]:
    """The time of the last event, in seconds since the epoch; 0 without events."""
    return float((yield from value("SELECT at FROM events ORDER BY id DESC LIMIT 1")) or 0)


def recall(key: MetaKey) -> Read[str | None]:
    """The text of this key."""
    found = yield from value(_META, key)
    return None if found is None else str(found)


def recall_time(key: MetaKey) -> Read[float | None]:
    """The time of this key, in seconds since the epoch."""
    found = yield from value(_META, key)
    return None if found is None else float(found)


def shared_state() -> Read[SharedState]:
    """The state that replicas and commands change for all replicas, by one query."""
    paused, number, *recovery = yield from row(_SHARED_STATE, MetaKey.PAUSED)
    return SharedState(paused=paused is not None, recovery=tuple(recovery), command=int(number))


def commands_after(number: int) -> Read[list[Command]]:
    """The commands with a higher number, in the order of application."""
    rows = yield Query("SELECT id, verb, uid, sender FROM commands WHERE number > ? ORDER BY number", (number,))
    return [Command(id=id, verb=verb, uid=uid, sender=sender) for id, verb, uid, sender in rows]  # noqa: A001


def texts(values: Sequence[str]) -> str:
    """These texts as one value, for `IN (SELECT value FROM json_each(?))`. PostgreSQL has no NUL."""
    return orjson.dumps([one.replace("\0", "\ufffd") for one in values]).decode()
