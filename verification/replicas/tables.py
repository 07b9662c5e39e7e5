"""The rows of a group commit, written to the state file that the model of the database uses."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from agent.store.changes import Write
from agent.store.repository import MIRRORED
from agent.store.sqlite import step_statements as statements
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.events import EVENT

_COLUMNS = (*MIRRORED, "seq", "head", "salt", "progress_at", "record")
_INSERT = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_SET = ", ".join(f"{one} = ?" for one in _COLUMNS if one != "progress_at")
_UPDATE = f"UPDATE requests SET {_SET}, progress_at = coalesce(?, progress_at) WHERE uid = ?"
_VERSION = "SELECT version, seq FROM requests WHERE uid = ?"
_COMMAND = "INSERT INTO commands (number, id, at, verb, uid, sender, answer, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"


class Moved(Exception):
    """A stored row is not the one that its step expects."""


def write_batch(connection: Connection, arguments: Sequence[Any]) -> int | None:
    """Write the arguments of `commit_batch` after the epoch. Returns the id of the last event. Raises Moved.

    The caller holds the transaction.
    """
    inserted, updated = (orjson.loads(text or "[]") for text in arguments[:2])
    events, intents, answers = _rows(arguments[2:8]), _rows(arguments[8:13]), _rows(arguments[13:24])
    others, counts = (orjson.loads(text or "{}") for text in arguments[24:26])
    _write_requests(connection, inserted, updated)
    for sql, rows in (
        (statements.TROUBLED, answers),
        (statements.INTENDED, intents),
        (EVENT, events),
    ):
        connection.executemany(sql, rows)
    for kind in Write:
        if kind in others:
            connection.executemany(statements.OF[kind], map(_decoded if kind is Write.CLAIMS else tuple, others[kind]))
    _erase(connection, others.get("erased", ()))
    _write_counts(connection, counts)
    return connection.execute("SELECT max(id) FROM events").fetchone()[0] if events else None


def _write_requests(connection: Connection, inserted: list[dict[str, Any]], updated: list[dict[str, Any]]) -> None:
    for row in updated:
        if connection.execute(_VERSION, (row["uid"],)).fetchone() != (row["before"], row["before_seq"]):
            raise Moved
        values = [row[name] for name in _COLUMNS if name != "progress_at"]
        connection.execute(_UPDATE, (*values, row["progress_at"], row["uid"]))
    for row in inserted:
        if connection.execute(_VERSION, (row["uid"],)).fetchone() is not None:
            raise Moved
        connection.execute(_INSERT, [row[name] for name in _COLUMNS])


def _write_counts(connection: Connection, counts: dict[str, Any]) -> None:
    connection.executemany(statements.COUNTER, counts.get("counters", ()))
    connection.executemany(statements.REQUEST_COUNT, counts.get("request_counts", ()))
    if "receipts" in counts:
        connection.executemany("INSERT OR IGNORE INTO receipts (digest, at) VALUES (?, ?)", counts["receipts"])
        connection.execute("DELETE FROM receipts WHERE at < ?", (counts["forget_before"],))
    if "command" in counts:
        number, command_id, *_ = counts["command"]
        taken = connection.execute("SELECT 1 FROM commands WHERE number = ? OR id = ?", (number, command_id))
        if taken.fetchone() is not None:
            raise Moved
        connection.execute(_COMMAND, counts["command"])
        connection.execute(_META, ("commands", counts["commands_note"]))


def _erase(connection: Connection, erased: Iterable[Sequence[str]]) -> None:
    for (uid,) in erased:
        connection.execute("DELETE FROM provenance WHERE uid = ?", (uid,))
        connection.execute("DELETE FROM labels WHERE uid = ?", (uid,))
        connection.execute("UPDATE commands SET answer = '' WHERE uid = ?", (uid,))


def _rows(columns: Sequence[list[Any] | None]) -> list[tuple[Any, ...]]:
    return [] if columns[0] is None else list(zip(*(column or [] for column in columns), strict=True))


def _decoded(row: Sequence[Any]) -> tuple[Any, ...]:
    uid, generation, key, wrapped, ciphertext, expires_at = row
    return uid, generation, key, base64.b64decode(wrapped), base64.b64decode(ciphertext), expires_at
