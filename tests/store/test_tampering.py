"""Whatever is done to the history behind the agent's back, the audit finds it [I5].

A state is rows in memory: an attack changes them, they are written back with all triggers dropped, and the audit has to
find it. What it cannot find by itself is a change of database and checkpoints together, to another state that is whole:
an older copy of both, or a forgery of both. A copy of the checkpoints that was kept elsewhere finds that too.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from agent.core.record import Phase
from agent.ports import Command
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, extend_digest
from agent.store.repository import event_hash
from agent.store.sqlite.connection import sqlite3
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import NOW, ORIGIN, capture, upload

from .support import committed, opened

TABLES = ("requests", "events", "attempts", "starts", "labels", "provenance", "commands", "meta")
Row = dict[str, Any]


@dataclass
class State:
    """What is in the database, and in the file beside it."""

    tables: dict[str, list[Row]]
    lines: list[Row] | None  # None: no file

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """In a word, for Hypothesis: of all the rows it warns, and the warning hides what failed as a "flaky" test."""
        printer.text(f"<State of {len(self.events)} events>")

    @property
    def events(self) -> list[Row]:
        return self.tables["events"]

    def of(self, uid: str) -> list[Row]:
        return sorted((row for row in self.events if row["uid"] == uid), key=lambda row: row["seq"])

    def request(self, uid: str) -> Row | None:
        return next((row for row in self.tables["requests"] if row["uid"] == uid), None)


def read(path: Path) -> State:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    tables = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in TABLES}
    connection.close()
    file = checkpoint_path(path)
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else None
    return State(tables, lines)


def write(path: Path, state: State) -> None:
    """Past all our care: triggers dropped, constraints off. What SQLite itself cannot hold is no attack."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("BEGIN")
        for name, rows in state.tables.items():
            connection.execute(f"DELETE FROM {name}")
            for row in rows:
                marks = ", ".join("?" * len(row))
                try:
                    connection.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
                except sqlite3.IntegrityError:
                    reject()
        connection.execute("COMMIT")
    if state.lines is None:
        checkpoint_path(path).unlink(missing_ok=True)
    else:
        checkpoint_path(path).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in state.lines))


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[State]]:
    """A database with four requests that went their roads side by side, and its state at each checkpoint."""
    folder = tmp_path_factory.mktemp("tampering")
    path = folder / "agent.db"

    async def written() -> list[State]:
        seen: list[State] = []
        labelled = upload(labels=(("team", "red"),), file="a.yaml", origin=ORIGIN)
        lives = [
            Life("u1", labelled),
            Life("u2", desired=capture()),
            Life("u3", desired=upload(retention=60.0)),
            Life("u4"),
        ]
        for life, phase in zip(lives, (Phase.DONE, Phase.RESULT, Phase.DELETION, Phase.DONE), strict=True):
            life.until(phase)
        store = opened(folder)
        for round_ in range(max(len(life.steps) for life in lives)):
            for life in lives:
                await store.commit(life.steps[round_ : round_ + 1])
            command = Command(id=f"command-{round_}", verb="pause", uid=(None, "u1")[round_ % 2], sender="root (uid 0)")
            await store.apply_command(command, "paused", NOW + round_)
            if round_ % 3 == 2:
                await store.checkpoint(NOW + round_)
                seen.append(read(path))
        await store.checkpoint(NOW + 100)
        store.close()
        return [*seen, read(path)]

    states = asyncio.run(written())
    assert len(states) >= 4
    assert verified(path).findings == ()
    return path, states


Draw = Callable[[st.SearchStrategy[Any]], Any]


def one_of(draw: Draw, rows: list[Row]) -> Row:
    """By its place: a row changes, and what Hypothesis draws from must not."""
    return rows[draw(st.integers(0, len(rows) - 1))]


def renumbered(state: State) -> None:
    for number, row in enumerate(sorted(state.events, key=lambda row: row["id"]), start=1):
        row["id"] = number


def rechained(state: State, uid: str) -> None:
    """Forge the chain of a request, and what its row says of it."""
    previous = ""
    for seq, row in enumerate(state.of(uid), start=1):
        row["seq"] = seq
        if isinstance(row["changes"], str):  # a forger knows that no hash is over bytes
            row["hash"] = previous = event_hash(previous, uid, seq, row["at"], row["type"], row["changes"])
    request = state.request(uid)
    if request is not None:
        request["seq"], request["head"] = len(state.of(uid)), previous


def change_an_event(draw: Draw, state: State, _: list[State]) -> None:
    row = one_of(draw, state.events)
    column, value = draw(
        st.sampled_from(
            [
                ("at", row["at"] + 1),
                ("type", "TimerFired"),
                ("changes", '{"phase":"done"}'),
                ("changes", "{}"),
                ("changes", "not JSON"),
                ("changes", '{"intent":{}}'),
                ("changes", '["phase"]'),
                ("changes", b"bytes"),
                ("hash", b"bytes"),
                ("hash", "0" * 64),
                ("uid", "u9"),
                ("seq", row["seq"] + 1000),
            ]
        )
    )
    row[column] = value
    if column in ("at", "type", "changes") and isinstance(value, str | float) and draw(st.booleans()):
        rechained(state, row["uid"])


def remove_events(draw: Draw, state: State, _: list[State]) -> None:
    ids = draw(st.sets(st.sampled_from([row["id"] for row in state.events]), min_size=1, max_size=5))
    uids = {row["uid"] for row in state.events if row["id"] in ids}
    state.tables["events"] = [row for row in state.events if row["id"] not in ids]
    if draw(st.booleans()):
        renumbered(state)
    if draw(st.booleans()):
        for uid in uids:
            rechained(state, uid)


def insert_an_event(draw: Draw, state: State, _: list[State]) -> None:
    row = dict(one_of(draw, state.events))
    place = draw(st.integers(1, len(state.events) + 1))
    for other in state.events:
        other["id"] += other["id"] >= place
        other["seq"] += other["uid"] == row["uid"] and other["seq"] > row["seq"]
    row["id"], row["seq"] = place, row["seq"] + 1
    state.events.append(row)
    if draw(st.booleans()):
        rechained(state, row["uid"])


def swap_events(draw: Draw, state: State, _: list[State]) -> None:
    one, other = one_of(draw, state.events), one_of(draw, state.events)
    if one["uid"] == other["uid"] and draw(st.booleans()):
        one["seq"], other["seq"] = other["seq"], one["seq"]
        if draw(st.booleans()):
            rechained(state, one["uid"])
    else:
        one["id"], other["id"] = other["id"], one["id"]


def cut_the_tail(draw: Draw, state: State, _: list[State]) -> None:
    kept = draw(st.integers(0, len(state.events) - 1))
    state.tables["events"] = [row for row in state.events if row["id"] <= kept]
    if draw(st.booleans()):
        for request in state.tables["requests"]:
            rechained(state, request["uid"])


def remove_a_request(draw: Draw, state: State, _: list[State]) -> None:
    uid = draw(st.sampled_from(["u1", "u2", "u3", "u4"]))
    for name in ("requests", "events", "attempts", "starts"):
        state.tables[name] = [row for row in state.tables[name] if row["uid"] != uid]
    if draw(st.booleans()):
        renumbered(state)


def add_a_request(draw: Draw, state: State, _: list[State]) -> None:
    """One that never was, with a chain in good order; it is put before the last checkpoint."""
    uid = draw(st.sampled_from(["u1", "u2", "u3", "u4"]))
    assume(state.request(uid) is not None and state.of(uid) and state.request("u8") is None)
    for name in ("requests", "attempts", "starts"):
        more = [dict(row, uid="u8") for row in state.tables[name] if row["uid"] == uid]
        state.tables[name] += [dict(row, name="forged") if "name" in row else row for row in more]
    forged = [dict(row, uid="u8", id=row["id"] + 0.5) for row in state.of(uid)]
    state.tables["events"] = state.events + forged
    renumbered(state)
    rechained(state, "u8")


def roll_back(draw: Draw, state: State, older: list[State]) -> None:
    """One table, some of them, or all of the database as they were at an earlier time; the file stays."""
    then = older[draw(st.integers(0, len(older) - 2))]
    for name in draw(st.sets(st.sampled_from(["requests", "events", "attempts", "starts", "commands"]), min_size=1)):
        state.tables[name] = deepcopy(then.tables[name])
    if draw(st.booleans()):
        state.tables = deepcopy(then.tables)


def change_a_record(draw: Draw, state: State, _: list[State]) -> None:
    row = one_of(draw, state.tables["requests"])
    column, value = draw(
        st.sampled_from([("outcome", "canceled"), ("phase", "images"), ("head", "x"), ("seq", 99), ("generation", 7)])
    )
    row[column] = value
    if draw(st.booleans()):
        # An earlier attack may have been here.
        known = {} if row["record"] == "not JSON" else orjson.loads(row["record"])
        forged = known | {"billed": False, "outcome": "canceled"}
        row["record"] = draw(st.sampled_from([orjson.dumps(forged).decode(), "{}", "not JSON"]))


def change_the_calls(draw: Draw, state: State, _: list[State]) -> None:
    name = draw(st.sampled_from(["attempts", "starts"]))
    rows = state.tables[name]
    assume(rows)
    row = one_of(draw, rows)
    if draw(st.booleans()):
        rows.remove(row)
    elif name == "attempts":
        row["effect"] = "start_verification" if row["effect"] != "start_verification" else "delete_dossier"
    else:
        row["at"] += 1


def change_a_name(draw: Draw, state: State, _: list[State]) -> None:
    """Of a request, in its row alone or in its record as well; or what goes with a name."""
    row = one_of(draw, state.tables["requests"])
    other = draw(st.sampled_from(["other", None, "name-u1", "name-u4"]))
    assume(row["name"] != other)
    taken = next((one for one in state.tables["requests"] if other is not None and one["name"] == other), None)
    if taken is not None:  # swapped
        named(taken, row["name"])
    named(row, other)


def named(row: Row, name: str | None) -> None:
    row["name"] = name
    with contextlib.suppress(ValueError):  # an earlier attack may have been here
        row["record"] = orjson.dumps(orjson.loads(row["record"]) | {"name": name or ""}).decode()


def change_what_goes_with_a_name(draw: Draw, state: State, _: list[State]) -> None:
    origin = ("file", "author", "file_commit", "signer", "uid", "generation")
    table, columns = draw(st.sampled_from([("labels", ("key", "value", "uid")), ("provenance", origin)]))
    assume(state.tables[table])
    row = one_of(draw, state.tables[table])
    if draw(st.booleans()):
        state.tables[table].remove(row)
        return
    column = draw(st.sampled_from(columns))
    row[column] = 7 if column == "generation" else "u2" if column == "uid" else "other"


def change_the_commands(draw: Draw, state: State, _: list[State]) -> None:
    rows = state.tables["commands"]
    assume(rows)
    row = one_of(draw, rows)
    what = draw(st.sampled_from(["verb", "sender", "at", "uid", "id", "number", "hash", "drop", "cut", "insert"]))
    if what == "drop":
        rows.remove(row)
        if draw(st.booleans()):
            for number, one in enumerate(sorted(rows, key=lambda one: one["number"] or 0), start=1):
                one["number"] = number
    elif what == "cut":
        rows[:] = [one for one in rows if (one["number"] or 0) < (row["number"] or 0)]
    elif what == "insert":
        rows.append({**row, "id": "forged", "number": draw(st.sampled_from([None, len(rows) + 1]))})
    else:
        row[what] = {"at": row["at"] + 1, "number": None}.get(what, "forged")


def change_the_file(draw: Draw, state: State, _: list[State]) -> None:
    if state.lines is None or not state.lines or draw(st.booleans()):
        state.lines = None
        return
    place = draw(st.integers(0, len(state.lines) - 1))
    what = draw(st.sampled_from(["drop", "cut", "event", "digest", "swap"]))
    if what == "drop":
        del state.lines[place]
    elif what == "cut":
        del state.lines[place:]
    elif what == "swap":
        state.lines[0], state.lines[place] = state.lines[place], state.lines[0]
    else:
        state.lines[place][what] = {"event": 3, "digest": "f" * 64}[what]
    if draw(st.booleans()):
        relined(state)


def relined(state: State) -> None:
    """Forge the chain of the lines."""
    previous = ""
    for number, line in enumerate(state.lines or (), start=1):
        line |= asdict(Checkpoint(**(line | {"number": number, "previous": previous})).with_hash())
        previous = line["hash"]


ATTACKS = [
    change_an_event, remove_events, insert_an_event, swap_events, cut_the_tail, remove_a_request, add_a_request,
    roll_back, change_a_record, change_a_name, change_what_goes_with_a_name, change_the_calls, change_the_commands,
    change_the_file,
]  # fmt: skip


def attacked(draw: Draw, states: list[State]) -> State:
    """The last state, after one to three attacks that changed something."""
    state = deepcopy(states[-1])
    for attack in draw(st.lists(st.sampled_from(ATTACKS), min_size=1, max_size=3)):
        if state.events and state.tables["requests"]:
            attack(draw, state, states)
    assume(state != states[-1])
    return state


EFFORT = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@EFFORT
@given(data=st.data())
def test_tampering_of_every_kind_is_found(states: tuple[Path, list[State]], data: st.DataObject) -> None:
    path, seen = states
    state = attacked(data.draw, seen)
    assume(state not in seen)  # an older copy of everything: for the test below
    write(path, state)
    assert verified(path).findings


@EFFORT
@given(data=st.data())
def test_a_forgery_of_the_checkpoints_is_found_by_a_copy(states: tuple[Path, list[State]], data: st.DataObject) -> None:
    """The forger makes the file anew from the events as they are now, and notes it in the database."""
    path, seen = states
    copy = path.with_name("kept.jsonl")
    write(path, seen[-1])
    shutil.copy(checkpoint_path(path), copy)
    state = attacked(data.draw, seen)
    in_order = sorted(state.events, key=lambda row: row["id"])
    assume([row["hash"] for row in in_order] != [row["hash"] for row in seen[-1].events])
    digest, head = "", ""
    for row in in_order:
        digest, head = extend_digest(digest, str(row["hash"])), str(row["hash"])
    line = Checkpoint(
        number=1,
        kind="checkpoint",
        at="",
        event=len(in_order),
        head=head,
        digest=digest,
        previous="",
        commands=0,
        commands_head="",
    )
    state.lines = [asdict(line.with_hash())]
    state.tables["meta"] = [row for row in state.tables["meta"] if row["key"] != "checkpoint"]
    state.tables["meta"].append({"key": "checkpoint", "value": f"1 {line.with_hash().hash}"})
    write(path, state)
    assert verified(path, copy).findings


async def test_an_unchanged_history_is_valid(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life().until(Phase.DONE))
    await store.checkpoint(NOW)
    store.close()
    write(tmp_path / "agent.db", read(tmp_path / "agent.db"))
    verdict = verified(tmp_path / "agent.db", checkpoint_path(tmp_path / "agent.db"))
    assert verdict.findings == verdict.notices == ()
    assert verdict.covered == verdict.events
