"""Whatever is done to the tables of a database or to its checkpoints, the audit finds it [I5].

The history and the attacks are those of SQLite. Each state is then written to the database, past every trigger and
constraint.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import orjson
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from agent.store.postgres.connect import Server
from tests.store.engines import Engine, PostgresEngine
from tests.store.test_tampering import EFFORT, State, attacked, states
from tests.support.postgres_server import PostgresServer

__all__ = ["states"]

CONSTRAINTS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f') AND conrelid <> 0
"""


@pytest.fixture
async def engine(
    tmp_path: Path, postgres_server: PostgresServer, states: tuple[Path, list[State]]
) -> AsyncIterator[Engine]:
    """A database without constraints, with the key of the history."""
    engine = PostgresEngine(tmp_path, postgres_server)
    await engine.begin()
    shutil.copy(states[0].with_name("agent.key"), engine.settings.key_path)
    await engine.change(*[sql for (sql,) in await engine.rows(CONSTRAINTS)])
    yield engine
    await engine.end()


def write(engine: Engine, state: State) -> None:
    """Write a state. Rejects one that the columns of PostgreSQL cannot hold: that is no attack."""

    async def written() -> None:
        server = Server.parse(engine.settings.state_url)
        connection = await asyncpg.connect(
            host=server.hosts[0], port=server.ports[0], user="postgres", database=server.database
        )
        try:
            await connection.execute("SET session_replication_role = replica")
            async with connection.transaction():
                for name, rows in state.tables.items():
                    await connection.execute(f"DELETE FROM {name}")
                    sql = f"INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, $1)"
                    await connection.execute(sql, orjson.dumps(rows).decode())
                await connection.execute("DELETE FROM checkpoints")
                rows_of_lines = [(number, orjson.dumps(one).decode()) for number, one in enumerate(state.lines or ())]
                await connection.executemany("INSERT INTO checkpoints VALUES ($1, $2)", rows_of_lines)
        finally:
            await connection.close()

    try:
        asyncio.run(written())
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, TypeError):
        reject()


@settings(EFFORT, max_examples=40)
@given(data=st.data())
def test_tampering_of_every_kind_is_found(
    engine: Engine, states: tuple[Path, list[State]], data: st.DataObject
) -> None:
    _, seen = states
    state = attacked(data.draw, seen)
    assume(state not in seen)  # an older copy of everything is found by the note or by a copy of the checkpoints
    write(engine, state)
    assert engine.verified().findings


def test_the_states_of_the_history_are_valid(engine: Engine, states: tuple[Path, list[State]]) -> None:
    for state in states[1]:
        write(engine, state)
        verdict = engine.verified()
        assert verdict.findings == verdict.notices == ()
        assert verdict.events == len(state.events)
