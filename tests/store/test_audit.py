"""The audit finds whatever was not written by us [I5]."""

from pathlib import Path

import orjson
import pytest

from agent.core.errors import StoreError
from agent.core.record import Phase
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import capture, upload

from .support import changed, committed, opened, rows


async def histories(folder: Path) -> Path:
    """A file with three requests."""
    store = opened(folder)
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2", desired=capture()).until(Phase.RESULT))
    await committed(store, Life("u3", desired=upload(retention=60.0)).until(Phase.DELETION))
    store.close()
    return folder / "agent.db"


async def test_an_event_that_we_wrote_is_found_whole(tmp_path: Path) -> None:
    verdict = verified(await histories(tmp_path))
    assert verdict.findings == ()
    assert verdict.requests == 3
    assert verdict.events == rows(tmp_path, "SELECT count(*) FROM events")[0][0]


async def test_the_audit_reads_while_an_agent_runs(tmp_path: Path) -> None:
    """[I7]"""
    store = opened(tmp_path)
    await committed(store, Life().until(Phase.DONE))
    assert verified(tmp_path / "agent.db").findings == ()
    store.close()


@pytest.mark.parametrize(
    ("tampering", "what"),
    [
        (["UPDATE events SET changes = '{\"phase\":\"done\"}' WHERE uid = 'u1' AND seq = 3"], "not what was written"),
        (["UPDATE events SET at = at + 1 WHERE uid = 'u1' AND seq = 3"], "not what was written"),
        (["UPDATE events SET type = 'TimerFired' WHERE uid = 'u1' AND seq = 3"], "not what was written"),
        (["DELETE FROM events WHERE uid = 'u1' AND seq = 3"], "missing"),
        (["DELETE FROM events WHERE uid = 'u1' AND seq = 1"], "missing"),
        (
            [
                "UPDATE events SET seq = seq + 100 WHERE uid = 'u1' AND seq >= 3",
                "UPDATE events SET seq = seq - 99 WHERE uid = 'u1' AND seq >= 103",
                "INSERT INTO events (uid, seq, at, type, changes, hash) VALUES ('u1', 3, 1.0, 'TimerFired', '{}', 'x')",
            ],
            "not what was written",
        ),
        (
            [
                "UPDATE events SET seq = 1000 WHERE uid = 'u1' AND seq = 3",
                "UPDATE events SET seq = 3 WHERE uid = 'u1' AND seq = 4",
                "UPDATE events SET seq = 4 WHERE uid = 'u1' AND seq = 1000",
            ],
            "not what was written",
        ),
        (
            [
                "UPDATE events SET id = 1000 WHERE uid = 'u1' AND seq = 3",
                "UPDATE events SET id = 3 WHERE uid = 'u1' AND seq = 4",
                "UPDATE events SET id = 4 WHERE id = 1000",
            ],
            "out of order",
        ),
        (
            ["DELETE FROM events WHERE uid = 'u1' AND seq = (SELECT max(seq) FROM events WHERE uid = 'u1')"],
            "cut off or extended",
        ),
        (["DELETE FROM events WHERE uid = 'u1'"], "cut off or extended"),
        (
            [
                "INSERT INTO events (uid, seq, at, type, changes, hash)"
                " SELECT uid, max(seq) + 1, at, type, changes, hash FROM events WHERE uid = 'u1'"
            ],
            "not what was written",
        ),
        (["UPDATE requests SET head = 'x' WHERE uid = 'u1'"], "cut off or extended"),
        (["UPDATE requests SET seq = seq + 1 WHERE uid = 'u1'"], "cut off or extended"),
    ],
)
async def test_tampering_is_found_at_its_request(tmp_path: Path, tampering: list[str], what: str) -> None:
    path = await histories(tmp_path)
    changed(tmp_path, *tampering)
    (finding,) = (finding for finding in verified(path).findings if finding.uid is not None)
    assert finding.uid == "u1"
    assert what in finding.what


@pytest.mark.parametrize(
    ("key", "value"), [("outcome", "rejected"), ("billed", False), ("dossier_id", "D-other"), ("generation", 2)]
)
async def test_a_record_that_was_changed_is_found(tmp_path: Path, key: str, value: object) -> None:
    path = await histories(tmp_path)
    ((text,),) = rows(tmp_path, "SELECT record FROM requests WHERE uid = 'u1'")
    record = orjson.dumps(orjson.loads(text) | {key: value}).decode()
    rows(tmp_path, "UPDATE requests SET record = ? WHERE uid = 'u1'", record)
    (finding,) = verified(path).findings
    assert "record" in finding.what


async def test_a_column_that_was_changed_is_found(tmp_path: Path) -> None:
    path = await histories(tmp_path)
    rows(tmp_path, "UPDATE requests SET outcome = 'rejected' WHERE uid = 'u1'")
    assert verified(path).findings


async def test_rows_of_no_request_are_found(tmp_path: Path) -> None:
    path = await histories(tmp_path)
    tables = {table for table in ("attempts", "starts") if rows(tmp_path, f"SELECT 1 FROM {table} WHERE uid = 'u2'")}
    changed(tmp_path, "PRAGMA foreign_keys=OFF", "DELETE FROM requests WHERE uid = 'u2'")
    found = {finding.what for finding in verified(path).findings}
    assert found >= {"the event belongs to no request", "rows of attempts belong to no request"}
    assert found >= {f"rows of {table} belong to no request" for table in tables}


async def test_a_forged_start_of_no_request_is_found(tmp_path: Path) -> None:
    path = await histories(tmp_path)
    changed(tmp_path, "PRAGMA foreign_keys=OFF", "INSERT INTO starts (uid, generation, at) VALUES ('u8', 1, 1)")
    (finding,) = verified(path).findings
    assert (finding.uid, finding.what) == ("u8", "rows of starts belong to no request")


def test_there_is_no_audit_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        verified(tmp_path / "agent.db")


async def test_a_record_of_an_earlier_version_lacks_later_fields_and_is_fine(tmp_path: Path) -> None:
    path = await histories(tmp_path)
    ((text,),) = rows(tmp_path, "SELECT record FROM requests WHERE uid = 'u1'")
    record = orjson.loads(text)
    del record["desired"]["document_type"]
    rows(tmp_path, "UPDATE requests SET record = ? WHERE uid = 'u1'", orjson.dumps(record).decode())
    assert verified(path).findings == ()


@pytest.mark.parametrize(
    ("tampering", "what"),
    [
        ("UPDATE attempts SET result = 'unknown' WHERE uid = 'u1' AND number = 2", "number 2 of its attempts"),
        (
            "UPDATE attempts SET answered_at = answered_at - 1 WHERE uid = 'u1' AND number = 5",
            "number 5 of its attempts",
        ),
        ("DELETE FROM attempts WHERE uid = 'u1' AND number = 4", "number 4 of its attempts"),
        (
            "INSERT INTO attempts (uid, number, generation, effect, intended_at)"
            " VALUES ('u1', 9, 1, 'delete_dossier', 1.0)",
            "number 9 of its attempts",
        ),
        ("DELETE FROM starts WHERE uid = 'u1'", "generation 1 of its starts"),
        ("UPDATE starts SET at = at - 86400 WHERE uid = 'u2'", "generation 1 of its starts"),
    ],
)
async def test_calls_and_starts_that_are_not_in_the_history_are_found(
    tmp_path: Path, tampering: str, what: str
) -> None:
    path = await histories(tmp_path)
    changed(tmp_path, tampering)
    (finding,) = verified(path).findings
    assert finding.what == f"{what} differs from its history"
