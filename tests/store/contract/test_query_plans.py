"""Every read on PostgreSQL can use an index [I8]: its plan scans no table that grows, once a scan has its price.

`tests/store/test_query_plans.py` counts the steps of SQLite. The planner of PostgreSQL chooses by statistics, so this
test forbids it to scan where anything else is possible.
"""

import re
from pathlib import Path
from typing import Any

from agent.store.postgres.facade import Facade
from agent.store.postgres.store import PostgresStore
from agent.store.reading.reads import Query
from tests.store import test_query_plans as calls
from tests.support.postgres_server import PostgresServer

from .engines import PostgresEngine
from .test_equal_answers import answers, filled

_GROWING = {"requests", "events", "attempts", "starts", "labels", "provenance", "reservations"}


async def test_no_read_must_scan_a_table_that_grows(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: Any
) -> None:
    asked: dict[str, tuple[Any, ...]] = {}
    facade, store_query = Facade.query, PostgresStore.query

    def by_facade(self: Facade, sql: str, *values: Any, **options: Any) -> Any:
        asked.setdefault(sql, values)
        return facade(self, sql, *values, **options)

    async def by_store(self: PostgresStore, query: Query) -> Any:
        asked.setdefault(query.sql, query.values)
        return await store_query(self, query)

    engine = PostgresEngine(tmp_path, postgres_server)
    await engine.begin()
    store = await engine.open(sinks=[calls.SINK])
    await filled(store)
    monkeypatch.setattr(Facade, "query", by_facade)
    monkeypatch.setattr(PostgresStore, "query", by_store)
    with engine.reading() as reading:
        await answers(store, reading)
    monkeypatch.undo()
    await store.aclose()
    scans = {}
    await engine.rows("SELECT set_config('enable_seqscan', 'off', false)")
    for sql, values in asked.items():
        plan = "\n".join(line for (line,) in await engine.rows("EXPLAIN " + sql, *values))
        if found := _GROWING & set(re.findall(r"Seq Scan on (\w+)", plan)):
            scans[" ".join(sql.split())] = found
    await engine.end()
    assert scans == {}
    assert len(asked) > 60
