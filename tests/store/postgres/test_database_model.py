"""The model of the database answers as the functions of the server do: `make simulate REPLICAS=3` stands on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.core.errors import Fenced, Moved
from agent.core.record import Phase
from agent.ports import SharedCircuit
from agent.store.postgres.circuit import CircuitRow
from agent.store.postgres.commits import Commits
from agent.store.postgres.driving import Driving
from agent.store.postgres.duties import DutyTable
from agent.store.postgres.ownership import Ownership
from agent.store.postgres.persistence import Persistence
from agent.store.postgres.replica_work import _TAKE_START
from verification.builders.lives import Life
from verification.crash_points import CrashPoints
from verification.replicas.connections import ModelPool, Network
from verification.replicas.process import Process
from verification.replicas.shared_work import ReplicatedDatabase
from verification.temp_stores import empty_store

from .support import KEYS, SINKS, opened

LEASE = 600.0
LIVES, REQUESTS, OPERATIONS = 3, 6, 150
DAY = 1_800_000_000.0 // 86400 * 86400
COMPARED = (  # without the random salts, and the hashes that follow from them
    "id, uid, seq, at, type FROM events ORDER BY id",
    "uid, version, seq, record, progress_at, due_at, priority, moving FROM requests ORDER BY uid",
    "* FROM attempts ORDER BY uid, number",
    "* FROM starts ORDER BY uid",
    "* FROM request_counts ORDER BY 1, 2, 3, 4",
    "count(*) FROM deliveries",
)
LATER = 1_900_000_000.0  # every request is due by then


class Replica:
    """One life on one of the two databases."""

    def __init__(self, server: Persistence, epoch: Any) -> None:
        self.owner = Ownership(server, LEASE)
        self.owner.epoch = epoch
        self.driving, self.duties = Driving(server, self.owner), DutyTable(server, self.owner)
        self.circuit = CircuitRow(self.owner)
        self.commits = Commits(server, self.owner, KEYS, SINKS)


@dataclass
class Side:
    """One of the two databases, with its lives."""

    server: Persistence
    expire: Callable[[Any], Awaitable[None]]
    rows: Callable[[str], Awaitable[list[tuple[Any, ...]]]]
    lives: list[Replica] = field(default_factory=list)

    async def close(self) -> None:
        for life in self.lives:
            await life.commits.close(1.0)


@asynccontextmanager
async def both_sides(database: str, folder: Path) -> AsyncIterator[tuple[Side, Side]]:
    for name, content in (await asyncio.to_thread(empty_store)).items():
        (folder / name).write_bytes(content)
    model = ReplicatedDatabase(folder / "agent.db", time.time)
    process = Process("one", CrashPoints(folder), time.time, 0.0, 1.0)
    pool = ModelPool(Network(model, Random(1)), process, lambda: None)

    async def expire_in_model(epoch: Any) -> None:
        if epoch in model.shared.replicas:
            model.shared.replicas[epoch].until = time.time() - 1.0

    async def rows_of_model(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in model.connection.execute(sql)]

    async with opened(database) as ours:
        await ours.pool.execute("DELETE FROM replicas")

        async def expire(epoch: Any) -> None:
            sql = "UPDATE replicas SET until = clock_timestamp() - interval '1 s' WHERE epoch = $1"
            await ours.pool.execute(sql, epoch)

        sides = Side(ours.persistence, expire, ours.rows), Side(Persistence(pool), expire_in_model, rows_of_model)
        for _ in range(LIVES):
            first = Replica(sides[0].server, Ownership(sides[0].server, LEASE).epoch)
            sides[0].lives.append(first)
            sides[1].lives.append(Replica(sides[1].server, first.owner.epoch))
        try:
            yield sides
        finally:
            for side in sides:
                await side.close()


class Sequence:
    """Random operations, each on both sides."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.requests = {f"u{number}": Life(f"u{number}") for number in range(REQUESTS)}
        self.stored = dict.fromkeys(self.requests, 0)  # the steps that are in the database

    def draw(self) -> tuple[str, Callable[[Side], Awaitable[Any]]]:
        chance, number, uid = self.chance, self.chance.randrange(LIVES), self.chance.choice([*self.requests])
        working = chance.sample([*self.requests], chance.randrange(3))
        started = chance.random() < 0.3
        circuit = SharedCircuit(cause=chance.choice("ab"), since=chance.choice((5.0, 6.0)), interval=1.0, probe_at=9.0)
        name = chance.choice(("one", "two"))
        at = LATER + chance.choice((0.0, 30.0, 61.0))
        operations: dict[str, Callable[[Replica], Awaitable[Any]]] = {
            "join": lambda one: one.owner.join(),
            "renew": lambda one: one.owner._server.ask(one.owner.renew),
            "leave": lambda one: one.owner.leave(),
            "others": lambda one: one.owner.others(),
            "claim": lambda one: claimed(one.driving.claim(LATER, 2, (), started, working, ())),
            "claim wanted": lambda one: claimed(one.driving.claim(LATER, 1, working, wanted=[uid])),
            "overdue": lambda one: claimed(one.driving.overdue(LATER, 2, (), working)),
            "release": lambda one: one.driving.release(working),
            "next due": lambda one: one.driving.next_due(working, started),
            "is driven": lambda one: one.driving.is_driven(uid),
            "duty": lambda one: one.duties.take_duty(name, 1000.0),
            "turn": lambda one: one.duties.hold_turn(name),
            "release turn": lambda one: one.duties.release_turn(name),
            "missing": lambda one: one.duties.images_missing(uid, at),
            "found": lambda one: one.duties.images_found(uid),
            "open": lambda one: one.circuit.open(circuit, started),
            "reschedule": lambda one: one.circuit.reschedule(circuit),
            "close": lambda one: one.circuit.close(circuit),
            "probe": lambda one: one.circuit.take_probe(circuit, 10.0, 20.0),
            "pause": lambda one: one.circuit.pause((at, at + 10.0)),
            "count missing": lambda one: one.circuit.count_missing(uid, 3),
            "trust": lambda one: one.circuit.trust((at, at + 10.0)),
            "found dossier": lambda one: one.circuit.found(),
            "start": lambda one: started_of(one, uid),
            "commit": lambda one: one.commits.commit([self.next_step(uid)]),
            "commit again": lambda one: one.commits.commit([self.requests[uid].steps[max(0, self.stored[uid] - 1)]]),
        }
        kind = chance.choice([*operations, "expire", *["commit", "join", "claim"] * 3])
        if kind == "expire":
            return f"{kind} {number}", lambda side: side.expire(side.lives[number].owner.epoch)
        return f"{kind} {number} {uid}", lambda side: operations[kind](side.lives[number])

    def next_step(self, uid: str) -> Any:
        life = self.requests[uid]
        while len(life.steps) <= self.stored[uid]:
            if life.record.phase is Phase.DONE:
                return life.steps[-1]
            life.goes_on()
        return life.steps[self.stored[uid]]

    def committed(self, uid: str) -> None:
        self.stored[uid] = min(self.stored[uid] + 1, len(self.requests[uid].steps))


async def claimed(claim: Awaitable[list[Any]]) -> list[str]:
    return [record.uid for record in await claim]


async def started_of(one: Replica, uid: str) -> Any:
    async def ask(connection: Any) -> Any:
        row = await connection.fetchrow(_TAKE_START, one.owner.epoch, uid, 1, DAY, 3)
        return None if row[0] is None else tuple(row)

    return await one.owner.ask(ask)


async def answer(operation: Awaitable[Any]) -> Any:
    try:
        return await operation
    except (Fenced, Moved) as error:
        return type(error).__name__


@pytest.mark.parametrize("seed", range(6))
async def test_the_model_answers_as_the_server(database: str, tmp_path: Path, seed: int) -> None:
    sequence, history = Sequence(seed), list[str]()
    async with both_sides(database, tmp_path) as (server, model):
        for _ in range(OPERATIONS):
            name, operation = sequence.draw()
            answers = [await answer(operation(side)) for side in (server, model)]
            history.append(f"{name}: {answers[0]}")
            assert answers[0] == answers[1], history[-20:]
            if name.startswith("commit ") and "again" not in name and answers[0] is None:
                sequence.committed(name.split()[-1])
        for columns in COMPARED:
            assert await server.rows(f"SELECT {columns}") == await model.rows(f"SELECT {columns}")
    assert {line.split()[0] for line in history} >= {"join", "commit", "claim"}
