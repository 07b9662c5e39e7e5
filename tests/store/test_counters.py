"""The table of request counts: metrics read it instead of scanning all requests."""

from pathlib import Path

from prometheus_client import generate_latest

from agent.core.record import Phase
from agent.platform.metrics import Metrics
from agent.store.sqlite.readonly import ReadOnlyStore
from tests.store.support import committed, grown, opened
from tests.support.clock import VirtualClock
from verification.builders.lives import Life
from verification.builders.records import NOW


async def test_no_figure_of_the_metrics_scans_the_requests(tmp_path: Path) -> None:
    """With a million requests on file the exposition costs what it costs with one."""
    store = opened(tmp_path)
    await committed(store, Life("a").until(Phase.RESULT))
    asked: list[str] = []
    with ReadOnlyStore(tmp_path / "agent.db") as reading:
        reading._reader.set_trace_callback(asked.append)
        reading.counts()
        reading.held()
        reading.gauges(NOW)
        reading.counters("outcome")
        reading._reader.set_trace_callback(None)
        for sql in asked:
            plan = [row[3] for row in reading._reader.execute("EXPLAIN QUERY PLAN " + sql)]
            big = [line for line in plan if line.startswith("SCAN requests") and "USING" not in line]
            assert not big, (sql, plan)
    store.close()
    assert asked


async def test_an_exposition_takes_the_same_steps_however_many_requests_there_are(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, with a thousand requests on file and with 20,000."""

    async def steps(requests: int) -> int:
        (await grown(tmp_path / str(requests), requests)).close()
        metrics, counted = Metrics(VirtualClock()), [0]

        def count() -> None:
            counted[0] += 1

        def look() -> ReadOnlyStore:
            reading = ReadOnlyStore(tmp_path / str(requests) / "agent.db")
            reading._reader.set_progress_handler(count, 1)
            return reading

        metrics.register_store(look)
        assert f'assure_agent_requests{{phase="done",state="done"}} {requests + 1}.0'.encode() in generate_latest(
            metrics.registry
        )
        return counted[0]

    assert await steps(1_000) == await steps(20_000) > 0
