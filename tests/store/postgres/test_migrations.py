"""The schema of a new database, of a used one, and of one that is not the agent's."""

import asyncio
import re

import asyncpg
import pytest

from agent.core.errors import StoreDamaged, StoreError, StoreNewer
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.migrations import applied, migrate
from agent.store.postgres.versions import NAMES, NUMBER, function_names


async def test_agents_that_start_at_once_migrate_once(empty_database: str) -> None:
    pools = [await open_pool(Server.parse(empty_database)) for _ in range(4)]
    await asyncio.gather(*(migrate(pool) for pool in pools for _ in range(2)))
    async with pools[0].acquire() as connection:
        assert await applied(connection) == {*NAMES}
    assert await pools[0].fetchval("SELECT count(*) FROM meta WHERE key = 'commands'") == 1
    for pool in pools:
        await pool.close()


async def test_a_migrated_database_is_left_alone_without_a_privilege_to_create(database: str) -> None:
    pool = await open_pool(Server.parse(database))
    before = await pool.fetch("SELECT oid, xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid")
    async with pool.acquire() as connection, connection.transaction():
        role = f"plain_{connection.get_server_pid()}"
        await connection.execute(f"CREATE ROLE {role}; GRANT SELECT ON migrations TO {role}; SET LOCAL ROLE {role}")
        assert await applied(connection) == {*NAMES}
        await connection.execute(f"RESET ROLE; REVOKE ALL ON migrations FROM {role}; DROP ROLE {role}")
    await migrate(pool)
    after = await pool.fetch("SELECT oid, xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid")
    assert after == before
    await pool.close()


async def test_a_newer_schema_is_refused_once_the_functions_of_this_version_are_gone(database: str) -> None:
    pool = await open_pool(Server.parse(database))
    await pool.execute("INSERT INTO migrations (name) VALUES ('0999_later')")
    await migrate(pool)
    await pool.execute("UPDATE migrations SET functions = '{}' WHERE name < '0999'")
    with pytest.raises(StoreNewer, match="0999_later"):
        await migrate(pool)
    await pool.close()


async def test_every_function_has_the_number_of_its_migration(database: str) -> None:
    """So no statement can call one without it: the server does not know that name."""
    pool = await open_pool(Server.parse(database))
    sql = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    found = {row[0] for row in await pool.fetch(sql)}
    numbered = {f"{name}_{NUMBER}" for name in function_names()}
    assert found == numbered | {"refuse", "iso", "seconds_between"}  # these belong to tables and views
    assert {*await pool.fetchval("SELECT functions FROM migrations WHERE name = $1", NAMES[-1])} == numbered
    bodies = await pool.fetch("SELECT proname, prosrc FROM pg_proc WHERE proname = ANY ($1)", [*numbered])
    plain = re.compile(rf"\b({'|'.join(function_names())})\(")
    assert [name for name, body in bodies if plain.search(body)] == []
    await pool.close()


async def test_a_database_of_another_program_is_refused_and_not_changed(empty_database: str) -> None:
    pool = await open_pool(Server.parse(empty_database))
    await pool.execute("CREATE TABLE accounts (id int)")
    with pytest.raises(StoreDamaged, match="another program"):
        await migrate(pool)
    assert await pool.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 1
    await pool.close()


async def test_a_migration_that_fails_leaves_nothing(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = await open_pool(Server.parse(empty_database))
    await pool.execute("CREATE FUNCTION iso(at double precision) RETURNS text LANGUAGE sql AS $$ SELECT '' $$")
    with pytest.raises(StoreError, match="refused"):
        await migrate(pool)
    assert await pool.fetch("SELECT * FROM migrations") == []
    await pool.execute("DROP FUNCTION iso")
    await migrate(pool)
    assert [row[0] for row in await pool.fetch("SELECT name FROM migrations")] == [*NAMES]
    await pool.close()


async def test_events_starts_and_recoveries_are_never_changed(database: str) -> None:
    """[I2, I5]"""
    pool = await open_pool(Server.parse(database))
    await pool.execute("INSERT INTO recoveries (id, at, cause, kept) VALUES (1, 1, 'lost', 0)")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute("DELETE FROM recoveries")
    await pool.close()
