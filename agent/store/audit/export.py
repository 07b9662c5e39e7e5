"""The history as JSON Lines. `state/verify_export.py` verifies it without the agent.

Each line is an object with a `kind`:

- `export`: the header, always first.
- `event`: an event as it was chained. `changes` is the hashed text.
- `request`: the number of events of a request, and the hash of the last one.
- `checkpoint`, `restore`, `break`: the lines of the checkpoint file.
- `end`: always last, with the counts, the digest of all events, and the SHA-256 of the header.

An export contains no name, label, path or link. It identifies requests by uid.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from agent import __version__
from agent.core.timestamps import format_timestamp
from agent.ports import MetaKey
from agent.store.account_binding import SIMULATED, simulated
from agent.store.audit.checkpoints import extend_digest
from agent.store.audit.connection import AuditConnection

FORMAT = 2

_VERIFIER = Path(__file__).with_name("verify_export.py")  # in the checkout, a link to the file in `state`


def verifier() -> str:
    """The script that verifies an export with Python's standard library only."""
    return _VERIFIER.read_text()


def export_lines(audit: AuditConnection, at: float, uid: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of an export of all requests or of one, in the order of writing, from one snapshot."""
    # Read before the snapshot, so that no checkpoint is ahead of it.
    checkpoints = list(audit.checkpoints()) if uid is None else []
    audit.freeze()
    account = audit.recall(MetaKey.ACCOUNT)
    header = {
        "kind": "export",
        "format": FORMAT,
        "agent": __version__,
        "at": format_timestamp(at),
        "whole": uid is None,
        "account": account,
        "simulated": SIMULATED if simulated(account) else None,
    }
    yield header
    events, digest = 0, ""
    for event in _events(audit, uid):
        events += 1
        digest = extend_digest(digest, event["hash"])
        yield event
    requests = 0
    for request in _requests(audit, uid):
        requests += 1
        yield request
    yield from map(asdict, checkpoints)
    counts = {"events": events, "requests": requests, "checkpoints": len(checkpoints)}
    header_digest = hashlib.sha256(orjson.dumps(header, option=orjson.OPT_SORT_KEYS)).hexdigest()
    yield {"kind": "end", **counts, "digest": digest, "header": header_digest}


def _requests(audit: AuditConnection, uid: str | None) -> Iterator[dict[str, Any]]:
    where, values = ("", ()) if uid is None else ("WHERE uid = ?", (uid,))
    sql = f"SELECT uid, seq, head FROM requests {where} ORDER BY admitted_at, uid"  # noqa: S608 - constant
    for request, seq, head in audit.stream(sql, values):
        yield {"kind": "request", "uid": request, "events": seq, "head": head}


def _events(audit: AuditConnection, uid: str | None) -> Iterator[dict[str, Any]]:
    where, order, values = ("", "id", ()) if uid is None else ("WHERE uid = ?", "seq", (uid,))
    sql = f"SELECT id, uid, seq, at, type, changes, hash FROM events {where} ORDER BY {order}"  # noqa: S608 - constant
    for event, request, seq, at, kind, changes, digest in audit.stream(sql, values):
        yield {
            "kind": "event",
            "event": event,
            "uid": request,
            "seq": seq,
            "time": format_timestamp(at),
            "at": at,
            "type": kind,
            "changes": changes,
            "hash": digest,
        }
