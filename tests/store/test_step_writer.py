"""Steps that are written together: as if each had been written alone, and without a read of what is known."""

import contextlib
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core import answer, assure_types, effect, notifications, record
from agent.core.effect import EffectKind
from agent.core.errors import Impossible, Moved, StoreError
from agent.core.observations import (
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DossierRead,
    EffectDelayed,
    EffectUnanswered,
    Resumed,
    TargetMissing,
    VerificationStarted,
)
from agent.core.record import Phase
from agent.core.step import Step, committed_together
from agent.ports import Command
from agent.store.identity_key import Keys
from agent.store.sqlite import step_writer
from agent.store.sqlite.connection import Connection, sqlite3
from agent.store.sqlite.migrations import migrate
from agent.store.sqlite.step_writer import StepWriter
from tests.support.stores import at_once
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import NOW, ORIGIN, capture, upload

from .support import committed, opened, rows

SINKS = ("one-sink", "another-sink")
LABELS = (("team", "red"), ("zone", "a"))


def happens(life: Life, what: str) -> None:
    """One more step of this life, if it can take it."""
    record, intent = life.record, life.record.intent
    if what == "goes on" and record.phase is not Phase.DONE and record.hold is None:
        life.goes_on()
    elif what == "crash" and intent is not None:
        life.sees(Resumed)
    elif what == "busy" and intent is not None:
        life.sees(EffectDelayed, kind=intent.kind)
    elif what == "unanswered" and intent is not None:
        life.sees(EffectUnanswered, kind=intent.kind)
    elif what == "changed" and intent is None:
        life.sees(DocumentChanged, desired=upload(digest="d2", essence="e2", labels=LABELS, origin=ORIGIN, file="f"))
    elif what == "removed" and intent is None and record.present:
        life.sees(DocumentRemoved)
    elif what == "returned" and intent is None and not record.present:
        life.sees(DocumentReturned, desired=record.desired)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """The steps of a few requests, mixed as a transaction may have them: each request in its own order."""
    kinds = ("goes on", "goes on", "goes on", "crash", "busy", "unanswered", "changed", "removed", "returned")
    lives = [
        Life(f"u{number}", capture(labels=LABELS) if draw(st.booleans()) else upload(origin=ORIGIN, file=f"f{number}"))
        for number in range(draw(st.integers(1, 4)))
    ]
    for life in lives:
        for what in draw(st.lists(st.sampled_from(kinds), max_size=25)):
            with contextlib.suppress(Impossible):  # `goes_on` knows no doubts
                happens(life, what)
    waiting, mixed = [list(life.steps) for life in lives], []
    while waiting := [steps for steps in waiting if steps]:
        mixed.append(draw(st.sampled_from(waiting)).pop(0))
    return mixed


def content(connection: Connection) -> dict[str, list[Any]]:
    """Every table, byte for byte, with the hidden row ids. A count of zero requests says nothing."""
    tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    found = {}
    for name, sql in tables:
        key = "" if "WITHOUT ROWID" in sql or name == "sqlite_sequence" else "rowid, "
        which = "WHERE requests <> 0" if name == "request_counts" else ""
        found[name] = connection.execute(f"SELECT {key}* FROM {name} {which} ORDER BY 1, 2").fetchall()
    return {name: found[name] for name in found if not name.startswith("_sqlite_migrations")}


def migrated() -> Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


EMPTY, KEYS = migrated(), Keys(b"k" * 32)


def empty() -> Connection:
    """A store in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    EMPTY.backup(connection)
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def assert_counted(connection: Connection) -> None:
    """The counts of requests equal a count of all requests."""
    kept = connection.execute("SELECT * FROM request_counts WHERE requests <> 0 ORDER BY 1, 2, 3, 4").fetchall()
    sql = """
        SELECT phase, state, coalesce(hold_reason, ''), dossier_id IS NOT NULL, count(*) FROM requests
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
    assert kept == connection.execute(sql).fetchall()


@settings(max_examples=100, deadline=None)
@given(steps=histories(), cuts=st.lists(st.integers(1, 30), min_size=1), forgets=st.booleans())
def test_a_batch_equals_its_steps_written_one_by_one(steps: list[Step], cuts: list[int], forgets: bool) -> None:
    """[I4, I5] However the steps are distributed over transactions, and with or without a memory of the rows."""
    one, many, writer = empty(), empty(), StepWriter(KEYS, SINKS)
    with mock.patch.object(secrets, "token_hex", lambda size: "5a" * size):  # the salts are random
        for step in steps:
            StepWriter(KEYS, SINKS).write(one, [step])
        turn = 0
        while steps:
            size = cuts[turn % len(cuts)]
            many.execute("BEGIN")
            writer.write(many, steps[:size])
            many.execute("COMMIT")
            steps, turn = steps[size:], turn + 1
            if forgets:
                writer.forget()
    assert content(many) == content(one)
    assert_counted(many)


@settings(max_examples=50, deadline=None)
@given(steps=histories(), cuts=st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1))
def test_a_transaction_that_is_rolled_back_leaves_no_trace(steps: list[Step], cuts: list[tuple[int, bool]]) -> None:
    """[I4] Neither in the counts of requests nor in the memory of the writer."""
    connection, writer, turn = empty(), StepWriter(KEYS), 0
    while steps:
        size, fails = cuts[turn % len(cuts)]
        if fails:
            before = content(connection)
            connection.execute("BEGIN")
            writer.write(connection, steps[:size])
            connection.execute("ROLLBACK")
            writer.forget()
            assert content(connection) == before
        connection.execute("BEGIN")
        writer.write(connection, steps[:size])
        connection.execute("COMMIT")
        steps, turn = steps[size:], turn + 1
        assert_counted(connection)


def test_a_step_that_fails_makes_the_writer_forget_all_rows() -> None:
    connection, writer = empty(), StepWriter(KEYS)
    first, second = Life("u1").until(Phase.PROCESS), Life("u2").until(Phase.PROCESS)
    writer.write(connection, [*first.steps, *second.steps[:-1]])
    connection.execute("BEGIN")
    first.goes_on()
    with pytest.raises(Moved, match="another version"):
        writer.write(connection, [first.steps[-1], second.steps[-2]])
    connection.execute("ROLLBACK")
    writer.write(connection, [first.steps[-1], second.steps[-1]])
    assert_counted(connection)


def test_known_rows_are_not_read_again_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_writer, "_REMEMBERED", 2)
    connection, writer = empty(), StepWriter(KEYS)
    lives = [Life(f"u{number}").until(Phase.PROCESS) for number in range(3)]
    reads: list[str] = []
    connection.set_trace_callback(lambda sql: reads.append(sql) if sql.startswith("SELECT version") else None)
    for life in lives:
        writer.write(connection, life.steps)
    assert reads == []
    for life in reversed(lives):
        life.goes_on()
        writer.write(connection, [life.steps[-1]])
    assert len(reads) == 1
    assert "'u0'" in reads[0]


def test_a_remembered_row_that_other_sql_changed_is_found_by_the_update() -> None:
    """[I5] An event in between moves the head of the chain."""
    connection, writer = empty(), StepWriter(KEYS)
    life = Life().until(Phase.PROCESS)
    writer.write(connection, life.steps)
    connection.execute("UPDATE requests SET seq = seq + 1, head = 'another'")
    life.goes_on()
    with pytest.raises(Moved, match="another version"):
        writer.write(connection, [life.steps[-1]])


async def test_a_command_between_two_steps_is_part_of_the_chain(tmp_path: Path) -> None:
    """[I5]"""
    store = opened(tmp_path)
    life = await committed(store, Life().until(Phase.PROCESS))
    await store.apply_command(Command(id="c1", verb="resolve", uid="u1"), "", NOW)
    life.goes_on()
    await store.commit([life.steps[-1]])
    store.close()
    assert not verified(tmp_path / "agent.db").findings


async def test_a_forgotten_name_leaves_the_memory_of_the_writer(tmp_path: Path) -> None:
    """[I6] Also while the record goes on, as after an erasure of a request that an event still changes."""
    store = opened(tmp_path)
    life = await committed(store, Life("u1", name="jane-doe").until(Phase.RESULT))
    assert "jane-doe" in repr(store._steps._rows)
    await store.forget(life.record.uid, NOW)
    assert "jane-doe" not in repr(store._steps._rows)
    store.close()


async def test_a_commit_that_fails_is_forgotten_and_its_neighbours_are_written(tmp_path: Path) -> None:
    """[I9]"""
    store = opened(tmp_path)
    await store.commit([Life("u1", name="same").steps[0]])
    with pytest.raises(StoreError):
        await store.commit([Life("u2").steps[0], Life("u3", name="same").steps[0]])
    life = await committed(store, Life("u2").until(Phase.DONE))
    assert at_once(store.get("u2")) == life.record
    store.close()
    assert not verified(tmp_path / "agent.db").findings


@pytest.mark.parametrize("found", [False, True], ids=["confirmed", "still there"])
async def test_a_deletion_is_written_with_its_confirmation(tmp_path: Path, found: bool) -> None:
    """[I5] One row, both events, and the answer has the time of its own event."""
    store = opened(tmp_path)
    life = Life().until(Phase.DELETION)
    while life.record.intent is None:
        life.goes_on()
    await committed(store, life)
    life.goes_on()
    deleted = life.steps[-1]
    assert deleted.commit_later
    if found:
        reading = assure_types.DossierReading(dossier_id=life.record.dossier_id or "", reference=None, processes=())
        life.sees(DossierRead, reading=reading)
    else:
        life.sees(TargetMissing, kind=EffectKind.READ_DOSSIER)
    await store.commit([committed_together(deleted, life.steps[-1])])
    assert at_once(store.get("u1")) == life.record
    store.close()
    assert rows(tmp_path, "SELECT answered_at FROM attempts WHERE effect = 'delete_dossier'") == [(deleted.at,)]
    assert not verified(tmp_path / "agent.db").findings


def test_every_value_is_plain() -> None:
    """sqlite3 adapts no enum and no bool: the search for an adapter costs more than the value."""
    adapted: list[object] = []

    def adapt(value: Any) -> Any:
        adapted.append(value)
        return str(value) if isinstance(value, str) else int(value)

    modules = (answer, assure_types, effect, notifications, record)
    enums = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    connection, writer = empty(), StepWriter(KEYS, SINKS)
    with mock.patch.dict(sqlite3.adapters):
        for kind in {kind for kind in enums if issubclass(kind, StrEnum)} | {bool}:
            sqlite3.register_adapter(kind, adapt)
        for desired in (upload(labels=LABELS, origin=ORIGIN, file="f", images=upload().images), capture()):
            life = Life(f"u{desired.mode}", desired, discard=True).until(Phase.DONE)
            for what in ("changed", "goes on", "unanswered", "goes on", "removed"):
                happens(life, what)
            writer.write(connection, life.steps)
    assert adapted == []


@pytest.mark.parametrize(
    "desired", [upload(labels=LABELS, origin=ORIGIN, file="f"), capture()], ids=["upload", "capture"]
)
def test_no_statement_of_a_step_builds_a_table(desired: record.Desired) -> None:
    """A CHECK with IN and three values or more builds one for each row: a fifth of the instructions of the writer."""
    connection, writer = empty(), StepWriter(KEYS, SINKS)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    writer.write(connection, Life("u1", desired).until(Phase.DONE).steps)
    connection.set_trace_callback(None)
    steps = {sql for sql in statements if sql.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))}
    assert len(steps) > 20
    for sql in steps:
        assert "OpenEphemeral" not in [row[1] for row in connection.execute(f"EXPLAIN {sql}")], sql


@pytest.mark.parametrize(
    ("table", "column", "legal"),
    [
        ("requests", "phase", [phase.value for phase in Phase if phase is not Phase.DONE]),
        ("requests", "state", ["active", "waiting", "held", "suspended", "done"]),
        ("requests", "priority", [0, 1, 2]),
        ("attempts", "result", [result.value for result in answer.CallResult]),
    ],
)
def test_a_column_has_no_other_value(table: str, column: str, legal: list[Any]) -> None:
    """[I1]"""
    connection, writer = empty(), StepWriter(KEYS)
    life = Life().until(Phase.RESULT)
    writer.write(connection, life.steps)
    connection.execute("UPDATE requests SET due_at = 1")
    for value in legal:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE uid = 'u1'", (value,))
    for value in ("another", -1, 3, ""):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE uid = 'u1'", (value,))


@pytest.mark.parametrize("shape", ["", "{status: string}"])
def test_an_attempt_has_all_evidence_of_its_answer(shape: str) -> None:
    connection, writer = empty(), StepWriter(KEYS)
    life = Life().until(Phase.VERIFICATION)
    assert life.record.intent is not None
    words = "invalid_token" if shape else ""
    evidence = answer.Evidence(status=200, cause="code", shape=shape, digest=shape[:6], trace_id="t7", words=words)
    life.sees(VerificationStarted, status=assure_types.Status.PROCESSING, evidence=evidence)
    writer.write(connection, life.steps)
    sql = "SELECT result, status, trouble, cause, shape, digest, trace_id, words FROM attempts WHERE number = ?"
    found = connection.execute(sql, (life.record.intents,)).fetchall()
    assert found == [("done", 200, None, "code", shape, shape[:6], "t7", words or None)]


async def test_new_labels_and_a_new_origin_are_stored_with_their_digests(tmp_path: Path) -> None:
    """[I5] Nearly all steps keep the document, and skip this work."""
    store = opened(tmp_path)
    life = Life("u1", upload(labels=LABELS))
    life.sees(DocumentChanged, desired=upload(digest="d2", labels=(("team", "blue"),), origin=ORIGIN, file="f"))
    await committed(store, life)
    store.close()
    assert rows(tmp_path, "SELECT key, value FROM labels") == [("team", "blue")]
    found = rows(tmp_path, "SELECT generation, file, author, file_commit, signer FROM provenance")
    assert found == [(1, "f", ORIGIN.author, ORIGIN.file_commit, ORIGIN.signer)]
    assert not verified(tmp_path / "agent.db").findings
