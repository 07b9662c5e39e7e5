"""The audit finds whatever was not written by us [I5]."""

import orjson
import pytest

from agent.core.errors import StoreError
from agent.core.record import Phase
from agent.store import open_audit
from agent.store.postgres import audit_connection
from verification.builders.lives import Life
from verification.builders.records import capture, upload

from .engines import Engine
from .support import committed


async def histories(engine: Engine) -> None:
    """Three requests."""
    async with engine.opened() as store:
        await committed(store, Life("u1").until(Phase.DONE))
        await committed(store, Life("u2", desired=capture()).until(Phase.RESULT))
        await committed(store, Life("u3", desired=upload(retention=60.0)).until(Phase.DELETION))


async def test_an_event_that_we_wrote_is_found_whole(engine: Engine) -> None:
    await histories(engine)
    verdict = engine.verified()
    assert verdict.findings == ()
    assert verdict.requests == 3
    assert [(verdict.events,)] == await engine.rows("SELECT count(*) FROM events")


async def test_the_audit_reads_while_an_agent_runs(engine: Engine) -> None:
    """[I7]"""
    async with engine.opened() as store:
        await committed(store, Life().until(Phase.DONE))
        assert engine.verified().findings == ()


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
                "INSERT INTO events (id, uid, seq, at, type, changes, hash)"
                " VALUES (999, 'u1', 3, 1.0, 'TimerFired', '{}', 'x')",
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
                "INSERT INTO events (id, uid, seq, at, type, changes, hash)"
                " SELECT 999, uid, seq + 1, at, type, changes, hash FROM events WHERE uid = 'u1'"
                " ORDER BY seq DESC LIMIT 1"
            ],
            "not what was written",
        ),
        (["UPDATE requests SET head = 'x' WHERE uid = 'u1'"], "cut off or extended"),
        (["UPDATE requests SET seq = seq + 1 WHERE uid = 'u1'"], "cut off or extended"),
    ],
)
async def test_tampering_is_found_at_its_request(engine: Engine, tampering: list[str], what: str) -> None:
    await histories(engine)
    await engine.change(*tampering)
    (finding,) = (finding for finding in engine.verified().findings if finding.uid is not None)
    assert finding.uid == "u1"
    assert what in finding.what


@pytest.mark.parametrize(
    ("key", "value"), [("outcome", "rejected"), ("billed", False), ("dossier_id", "D-other"), ("generation", 2)]
)
async def test_a_record_that_was_changed_is_found(engine: Engine, key: str, value: object) -> None:
    await histories(engine)
    ((text,),) = await engine.rows("SELECT record FROM requests WHERE uid = 'u1'")
    record = orjson.dumps(orjson.loads(text) | {key: value}).decode()
    await engine.change(f"UPDATE requests SET record = '{record}' WHERE uid = 'u1'")
    (finding,) = engine.verified().findings
    assert "record" in finding.what


async def test_a_column_that_was_changed_is_found(engine: Engine) -> None:
    await histories(engine)
    await engine.change("UPDATE requests SET outcome = 'rejected' WHERE uid = 'u1'")
    assert engine.verified().findings


async def test_rows_of_no_request_are_found(engine: Engine) -> None:
    await histories(engine)
    tables = {table for table in ("attempts", "starts") if await engine.rows(f"SELECT 1 FROM {table} WHERE uid = 'u2'")}
    await engine.change("DELETE FROM requests WHERE uid = 'u2'")
    found = {finding.what for finding in engine.verified().findings}
    assert found >= {"the event belongs to no request", "rows of attempts belong to no request"}
    assert found >= {f"rows of {table} belong to no request" for table in tables}


async def test_a_forged_start_of_no_request_is_found(engine: Engine) -> None:
    await histories(engine)
    await engine.change("INSERT INTO starts (uid, generation, at) VALUES ('u8', 1, 1)")
    (finding,) = engine.verified().findings
    assert (finding.uid, finding.what) == ("u8", "rows of starts belong to no request")


def test_there_is_no_audit_without_a_store(engine: Engine) -> None:
    if engine.settings.uses_database:
        engine.configure(state_url=engine.settings.state_url.replace("/t_", "/none_"))
    with pytest.raises(StoreError):
        engine.verified()


async def test_a_record_of_an_earlier_version_lacks_later_fields_and_is_fine(engine: Engine) -> None:
    await histories(engine)
    ((text,),) = await engine.rows("SELECT record FROM requests WHERE uid = 'u1'")
    record = orjson.loads(text)
    del record["desired"]["document_type"]
    await engine.change(f"UPDATE requests SET record = '{orjson.dumps(record).decode()}' WHERE uid = 'u1'")
    assert engine.verified().findings == ()


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
    engine: Engine, tampering: str, what: str
) -> None:
    await histories(engine)
    await engine.change(tampering)
    (finding,) = engine.verified().findings
    assert finding.what == f"{what} differs from its history"


async def test_a_snapshot_stays_the_same_while_an_agent_writes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I5] Rows arrive in pages, and commits in between are not among them."""
    monkeypatch.setattr(audit_connection, "_PAGE", 2)
    await histories(engine)
    events = await engine.rows("SELECT id, hash FROM events ORDER BY id")
    with open_audit(engine.settings) as audit:
        audit.freeze()
        requests, first = (
            audit.mappings("SELECT * FROM requests"),
            audit.stream("SELECT id, hash FROM events ORDER BY id"),
        )
        assert [tuple(next(first)), next(requests)["uid"] in ("u1", "u2", "u3")] == [events[0], True]
        async with engine.opened() as store:
            await committed(store, Life("u4").until(Phase.DONE))
            await store.checkpoint(1.0)
        assert [tuple(row) for row in first] == events[1:]
        assert len(list(requests)) == 2
        assert [tuple(row) for row in audit.stream("SELECT id, hash FROM events ORDER BY id")] == events
        assert audit.execute("SELECT count(*) FROM requests").fetchone()[0] == 3
    assert engine.verified().requests == 4


async def test_the_audit_writes_nothing(engine: Engine) -> None:
    """[I7]"""
    await histories(engine)
    with open_audit(engine.settings) as audit:
        audit.freeze()
        with pytest.raises(Exception, match=r"readonly|read-only"):
            audit.execute("DELETE FROM labels").fetchone()
