"""The search for requests whose deadline or hold ran out uses an index (design §4)."""

from pathlib import Path

from verification.builders.records import NOW

from .support import opened, rows


async def test_an_outage_reads_no_request_whose_time_is_not_up(tmp_path: Path) -> None:
    """Once a minute, in the event loop, whatever waits. [I9]"""
    store = opened(tmp_path)
    statements: list[str] = []
    store._reads._reader.set_trace_callback(statements.append)
    await store.overdue(NOW, 100, set())
    store._reads._reader.set_trace_callback(None)
    (plan,) = {row[3] for row in rows(tmp_path, "EXPLAIN QUERY PLAN " + statements[-1])}
    assert plan == "SEARCH requests USING INDEX requests_deciding (decides_at<?)"
    store.close()
