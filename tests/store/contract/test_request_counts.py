"""The table of request counts is what a scan of the requests would count, and the metrics read it."""

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.observations import DocumentChanged, DocumentRemoved
from agent.core.record import Phase
from tests.store.engines import Engine, PostgresEngine, SqliteEngine
from tests.store.support import committed
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life
from verification.builders.records import capture, upload

Lives = list[tuple[Phase, bool, str]]
_SCANNED = """
SELECT phase, state, coalesce(hold_reason, ''), CASE WHEN dossier_id IS NULL THEN 0 ELSE 1 END, count(*)
FROM requests GROUP BY 1, 2, 3, 4
"""


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lives=st.lists(
        st.tuples(st.sampled_from(list(Phase)), st.booleans(), st.sampled_from(["", "changed", "removed"])), max_size=6
    )
)
async def test_the_counts_are_what_a_scan_would_count(
    tmp_path: Path, server: PostgresServer | None, lives: Lives
) -> None:
    engine: Engine = SqliteEngine(tmp_path) if server is None else PostgresEngine(tmp_path, server)
    await engine.begin()
    store = await engine.open()
    for n, (phase, is_capture, then) in enumerate(lives):
        reached = Phase.RESULT if is_capture and phase in (Phase.IMAGES, Phase.VERIFICATION) else phase
        life = Life(f"u{n}", desired=capture() if is_capture else upload()).until(reached)
        if life.record.intent is not None:
            then = ""  # what people say waits while a call is open
        if then == "changed":
            life.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
        elif then == "removed":
            life.sees(DocumentRemoved)
        await committed(store, life)
    scanned = Counter({tuple(row[:4]): row[4] for row in await engine.rows(_SCANNED)})
    kept = {tuple(row[:4]): row[4] for row in await engine.rows("SELECT * FROM request_counts") if row[4]}
    with engine.reading() as reading:
        reported = {key: count for key, count in reading.counts().items() if count}
    await store.aclose()
    await engine.end()
    for path in tmp_path.iterdir():
        path.unlink()
    assert kept == dict(scanned)
    assert sum(reported.values()) == len(lives)
