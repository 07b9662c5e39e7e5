"""The audit of the history: chains unbroken, numbers without a gap, and the replay equal to the record [I5]."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from agent.core.journal import audited, replay
from agent.store.connection import Connection, open_reader
from agent.store.rows import chain, columns, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in the history that is not as it was written."""

    uid: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` saw."""

    requests: int
    events: int
    findings: tuple[Finding, ...]


def verify(path: Path) -> Verdict:
    """Check every chain in the file. One snapshot: an agent may go on meanwhile."""
    connection = open_reader(path)
    try:
        connection.execute("BEGIN")
        requests = events = 0
        findings: list[Finding] = []
        rows = connection.execute("SELECT * FROM requests")
        names = [column[0] for column in rows.description]
        for values in rows:
            row = dict(zip(names, values, strict=True))
            requests += 1
            events += row["seq"]
            findings += _verify_one(connection, row)
        for uid, seq in connection.execute(
            "SELECT uid, seq FROM events WHERE uid NOT IN (SELECT uid FROM requests) ORDER BY uid, seq"
        ):
            findings.append(Finding(uid=uid, seq=seq, what="the event belongs to no request"))
        return Verdict(requests=requests, events=events, findings=tuple(findings))
    finally:
        connection.close()


def _verify_one(connection: Connection, row: dict[str, Any]) -> Iterator[Finding]:
    uid = row["uid"]
    previous, expected = "", 0
    changes = []
    sql = "SELECT seq, at, type, changes, hash FROM events WHERE uid = ? ORDER BY seq"
    for seq, at, kind, change, digest in connection.execute(sql, (uid,)):
        expected += 1
        if seq != expected:
            yield Finding(uid=uid, seq=expected, what="the event is missing")
            return
        if chain(previous, uid, seq, at, kind, change) != digest:
            yield Finding(uid=uid, seq=seq, what="the event is not what was written")
            return
        previous = digest
        changes.append(orjson.loads(change))
    if expected != row["seq"] or previous != row["head"]:
        yield Finding(uid=uid, seq=expected + 1, what="the history was cut off or extended")
        return
    record = load(row["record"])
    if replay(changes) != orjson.loads(orjson.dumps(audited(record))):
        yield Finding(uid=uid, seq=expected, what="the record is not what its history says")
        return
    for name, value in columns(record).items():
        if name == "name":  # it may have been erased
            continue
        if row[name] != value and not (name == "record" and _told(orjson.loads(row[name]), orjson.loads(value))):
            yield Finding(uid=uid, seq=expected, what=f"the column {name} is not what the record says")


def _told(stored: Any, whole: Any) -> bool:
    """True when an earlier version wrote this: what it knew is the same, and fields came after it."""
    if isinstance(stored, dict) and isinstance(whole, dict):
        return all(key in whole and _told(value, whole[key]) for key, value in stored.items())
    return bool(stored == whole)
