"""A replica begins although one statement of its start loses its answer, or never arrives [I4]."""

from pathlib import Path

import pytest

from agent.platform.settings import Settings
from agent.store.postgres.connect import Server
from agent.store.postgres.store import PostgresStore
from agent.store.postgres.versions import NAMES
from tests.support.cutting_proxy import Cut, cutting_proxy
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life

ACCOUNT = "client at https://assure.example"


@pytest.mark.parametrize("how", [Cut.QUESTION, Cut.ANSWER], ids=str)
async def test_a_start_repeats_the_statement_that_broke(
    postgres_server: PostgresServer, empty_database: str, tmp_path: Path, how: Cut
) -> None:
    name = Server.parse(empty_database).database
    async with cutting_proxy(postgres_server.socket()) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
        given = Settings(state_url=url, state_dir=tmp_path / "state", key_file=tmp_path / "agent.key")
        before, statements, life = 0, 1, Life()
        while before < statements:
            proxy.cut(*[None] * before, how)
            asked = proxy.questions
            store = await PostgresStore.open(given, ACCOUNT)
            statements = proxy.questions - asked
            if before == 0:
                await store.commit([life.steps[0]])
            found = await store.get(life.record.uid)
            assert found is not None
            assert found.version == life.record.version
            assert await store.recoveries.open() is None
            rows = await store._pool.fetch("SELECT name FROM migrations")
            assert [row[0] for row in rows] == [*NAMES]
            await store.aclose()
            before += 1
        assert before > 5
