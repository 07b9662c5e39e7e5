"""A read of the database costs the same with a long past [I8]: by its plans, and by the rows that it touches.

The store has 20,000 settled requests and ten that wait. The server plans the reads of commands for their values; it
may plan those of the loops for any values.
"""

import asyncio
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pytest

from agent.core.observations import DocumentRemoved
from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store.postgres import store
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.dialect import numbered
from agent.store.postgres.reading import PostgresReading
from agent.store.reading.loop_reads import LoopReads
from agent.store.reading.reads import Query, Rows
from tests.store.test_query_plans import READING, STORE
from tests.support.module_databases import databases
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life

from .support import opened

SETTLED = 20_000
GROWING = {"requests", "events", "attempts", "starts", "reservations", "labels", "provenance"}
_CUSTOM = 6  # after so many runs, the server may plan a statement for any values
TOUCHED = 200  # rows of all nodes of a plan
CLONED = f"""
SET session_replication_role = replica;  -- the keys of other tables need no check
CREATE TEMP TABLE clones AS SELECT 'settled-' || n AS uid, n FROM generate_series(10, {SETTLED}) AS n;
INSERT INTO requests SELECT r.* FROM clones, requests AS one, LATERAL jsonb_populate_record(one, jsonb_build_object(
    'uid', clones.uid, 'name', 'name-' || clones.uid, 'progress_at', one.progress_at + n,
    'record', replace(one.record, 'settled-1', clones.uid))) AS r WHERE one.uid = 'settled-1';
INSERT INTO events SELECT (SELECT max(id) FROM events) + row_number() OVER (), clones.uid, seq, at, type, changes, hash
FROM clones, events WHERE events.uid = 'settled-1' AND seq < 4;
INSERT INTO attempts SELECT r.* FROM clones, attempts AS one,
    LATERAL jsonb_populate_record(one, jsonb_build_object('uid', clones.uid)) AS r
    WHERE one.uid = 'settled-1' AND one.number = 1;
INSERT INTO starts SELECT clones.uid, generation, process_id, at FROM clones, starts WHERE starts.uid = 'settled-1';
INSERT INTO reservations SELECT uid, 1, 1 FROM clones;
INSERT INTO provenance SELECT uid, 1, 'a.yaml' FROM clones;
INSERT INTO labels SELECT 'team', (ARRAY['red', 'green', 'blue'])[n % 3 + 1], uid FROM clones;
UPDATE request_counts SET requests = requests + (SELECT count(*) FROM clones) WHERE phase = 'done';
"""
# These read as much as they return, or as many as there are: see the same names in tests/store/test_query_plans.py.
MAY_GROW = {"all", "page"}


class Asked(LoopReads):
    """The reads of the loops, with what they ask."""

    def __init__(self, reading: "Watched") -> None:
        self._reading = reading

    async def query(self, query: Query) -> Rows:
        return self._reading.query(*query)


class Watched(PostgresReading):
    """A reading that notes its queries."""

    asked: list[tuple[str, Sequence[Any]]]

    def query(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        self.asked.append((sql, values))
        return super().query(sql, values)

    def stream(self, sql: str) -> Iterator[Any]:
        self.asked.append((sql, ()))
        return super().stream(sql)


@pytest.fixture(scope="module")
def grown(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of the store."""
    with databases(postgres_server) as url:
        asyncio.run(_grow(url))
        yield url


async def _grow(url: str) -> None:
    async with opened(url, sinks=()) as ours:
        lives = [Life(f"waits-{number}").until(Phase.RESULT) for number in range(10)]
        for number in range(10):
            life = Life(f"settled-{number}").until(Phase.DONE)
            life.sees(DocumentRemoved)
            lives.append(life)
        for steps in zip_longest(*(life.steps for life in lives)):
            await ours.commits.commit([step for step in steps if step is not None])
        await ours.pool.execute(CLONED)
        await ours.pool.execute("VACUUM ANALYZE")


@pytest.fixture(scope="module")
def asked(grown: str) -> dict[str, list[tuple[str, Sequence[Any]]]]:
    """The queries of each read, by its name."""
    found = {"needed_images": [(store._NEEDED, ())]}
    with Watched(Settings(state_url=grown)) as reading:
        for kind, calls in ((reading, READING), (Asked(reading), STORE)):
            for name in calls.keys() & {name for name, _ in inspect.getmembers(kind)} - {
                "freeze",
                "rollback",
                "recovery",
            }:
                reading.asked = []
                asyncio.run(_answered(calls[name](kind)))
                found[name] = found.get(name, []) + reading.asked
    return found


async def _answered(came: Any) -> None:
    for one in came if isinstance(came, list) else [came]:
        if inspect.isawaitable(one):
            await one


@pytest.mark.parametrize("mode", ["force_custom_plan", "auto"])
async def test_no_read_scans_a_table_that_grows(
    grown: str, asked: dict[str, list[tuple[str, Sequence[Any]]]], mode: str
) -> None:
    loops = {name for name, _ in inspect.getmembers(LoopReads)} | {"needed_images"}
    names = asked.keys() & loops if mode == "auto" else asked.keys()
    scans, wide, seen = [], [], 0
    pool = await open_pool(Server.parse(grown))
    async with pool.acquire() as connection:
        await connection.execute(f"SET plan_cache_mode = {mode}; SET jit = off; SET cursor_tuple_fraction = 0.0001")
        for name in sorted(names):
            for sql, values in asked[name]:
                plan = await _plan(connection, name, numbered(sql), values)
                seen += 1
                nodes = list(_nodes(plan))
                scans += [
                    f"{name}: {node['Node Type']} of {node['Relation Name']}: {' '.join(sql.split())}"
                    for node in nodes
                    if node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")
                    and node["Relation Name"] in GROWING
                    and (node["Node Type"] == "Seq Scan" or _rows(node) > TOUCHED)
                ]
                touched = sum(map(_rows, nodes))
                if touched > TOUCHED and name not in MAY_GROW and "pg_class" not in sql:
                    wide.append(f"{name} touches {touched:.0f} rows: {' '.join(sql.split())}")
    await pool.close()
    assert "\n".join(scans + wide) == ""
    assert seen > 25


async def _plan(connection: Any, name: str, sql: str, values: Sequence[Any]) -> Any:
    """The plan of a query with what it did. A stream is read page by page."""
    if name == "all":
        (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) DECLARE one NO SCROLL CURSOR FOR {sql}")
        return json.loads(row[0])[0]["Plan"]
    literals = ", ".join(_literal(value) for value in values)
    await connection.execute(f"PREPARE one AS {sql}")
    run = f"EXECUTE one{f'({literals})' if values else ''}"
    for _ in range(_CUSTOM):
        await connection.execute(run)
    (row,) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {run}")
    await connection.execute("DEALLOCATE one")
    return json.loads(row[0])[0]["Plan"]


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else f"'{value}'"


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _rows(node: Any) -> float:
    """The rows that a node returned or removed."""
    removed = sum(value for key, value in node.items() if re.match("Rows Removed", key))
    return float((node.get("Actual Rows", 0) + removed) * node.get("Actual Loops", 1))
