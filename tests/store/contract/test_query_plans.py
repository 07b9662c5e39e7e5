"""Every read on PostgreSQL can use an index [I8]: its plan scans no table that grows, once a scan has its price.

`tests/store/test_query_plans.py` counts the steps of SQLite. The planner of PostgreSQL chooses by statistics, so this
test forbids it to scan where anything else is possible.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.store.postgres.facade import Facade
from agent.store.postgres.store import PostgresStore
from agent.store.reading.reads import Query
from tests.store import test_query_plans as calls
from tests.store.engines import PostgresEngine
from tests.support.postgres_server import PostgresServer

from .test_equal_answers import answers, filled

_GROWING = {"requests", "events", "attempts", "starts", "labels", "provenance", "reservations"}
_MAY = {*calls.PARTIAL, "requests_by_part_of_name"}  # indexes of a part only, and the search in all names


def whole_scans(node: dict[str, Any], limited: bool = False) -> Iterator[str]:
    """The tables that grow of which this plan reads every row. The first rows in the order of an index are no scan."""
    limited = (limited or node["Node Type"] == "Limit") and "Filter" not in node and node["Node Type"] != "Sort"
    table, index = node.get("Relation Name"), node.get("Index Name")
    if node["Node Type"] == "Bitmap Index Scan":
        table = next((name for name in _GROWING if str(index).startswith(name)), None)  # the node above names it
    whole = table in _GROWING and "Index Cond" not in node and node["Node Type"] != "Bitmap Heap Scan"
    if whole and not limited and index not in _MAY:
        yield f"{table} by {index}"
    for part in node.get("Plans", []):
        yield from whole_scans(part, limited)


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
    for other in ("seqscan", "hashjoin", "mergejoin"):  # what pays off in a small table only
        await engine.rows("SELECT set_config(?, 'off', false)", f"enable_{other}")
    for sql, values in asked.items():
        ((plan,),) = await engine.rows("EXPLAIN (FORMAT JSON) " + sql, *values)
        if found := [*whole_scans(json.loads(plan)[0]["Plan"])]:
            scans[" ".join(sql.split())] = found
    await engine.end()
    assert scans == {}
    assert len(asked) > 60
