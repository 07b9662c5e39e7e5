"""Two roles: the owner of the tables migrates, and the agent may do what it does, and no more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.ports import Command
from agent.store import open_reading, open_store
from agent.store.postgres.connect import Server, open_pool
from tests.cli.command_runner import finish, spawn
from tests.store.copy_support import copied, filled
from tests.store.support import ACCOUNT, committed
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life
from verification.builders.records import NOW, capture, upload

DENIED = asyncpg.InsufficientPrivilegeError


def as_role(url: str, role: str) -> str:
    """The URL of the same database for another user."""
    return url.replace("//postgres@", f"//{role}@")


@pytest.fixture
async def roles(empty_database: str, postgres_server: PostgresServer) -> AsyncIterator[tuple[str, str]]:
    """The URLs of an empty database for the two roles: the owner of its schema, and the agent."""
    name = Server.parse(empty_database).database
    owner, agent = f"owner_{name}", f"agent_{name}"
    await postgres_server.execute(f"CREATE ROLE {owner} LOGIN", f"CREATE ROLE {agent} LOGIN")
    await postgres_server.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    yield as_role(empty_database, owner), as_role(empty_database, agent)
    await execute(empty_database, f"DROP OWNED BY {owner} CASCADE", f"DROP OWNED BY {agent} CASCADE")
    await postgres_server.execute(f"ALTER DATABASE {name} OWNER TO postgres")
    await postgres_server.execute(f"DROP ROLE {owner}", f"DROP ROLE {agent}")


async def execute(url: str, *statements: str) -> list[Any]:
    """Run statements at the database; the rows of the last one."""
    pool = await open_pool(Server.parse(url), 1)
    try:
        return [await pool.fetch(statement) for statement in statements][-1]
    finally:
        await pool.close()


def store_command(*arguments: str, **env: str) -> Any:
    """Run `assure-agent store` in another process."""
    return finish(spawn(Path("/tmp"), "store", *arguments, **env))


async def prepared(roles: tuple[str, str]) -> Settings:
    """The owner has created the tables and granted the agent its privileges. Returns nothing that owns a table."""
    owner, agent = roles
    done = store_command("migrate", "--grant", Server.parse(agent).user, "--state-url", owner)
    assert done.code == 0, done
    assert done.out.splitlines() == [
        "applied the migration 0001_initial",
        f"the role {Server.parse(agent).user} may do what the agent does",
    ]
    return Settings(state_url=agent)


async def test_the_owner_migrates_once_and_again_changes_nothing(roles: tuple[str, str]) -> None:
    await prepared(roles)
    again = store_command("migrate", STATE_URL=roles[0])
    assert (again.code, again.out) == (0, "the schema is current: nothing to migrate\n")


async def test_the_agent_does_everything_that_it_does(roles: tuple[str, str], tmp_path: Path) -> None:
    """Requests of both modes, commands, receipts, `forget`, the outbox, checkpoints, recovery and reading."""
    settings = (await prepared(roles)).model_copy(update={"state_dir": tmp_path})
    store = await open_store(settings, ACCOUNT, sinks=("one-sink",))
    for life in (Life("u1", upload(back=False)).until(Phase.DONE), Life("u2", capture()).until(Phase.RESULT)):
        for taken in life.steps:
            await store.commit([taken])
    await store.apply_command(Command(id="c1", verb="pause", uid=None, sender="root"), "paused", NOW)
    await store.forget("u1", NOW)
    await store.outbox.keep_only([])
    assert len(await store.checkpoint(NOW)) == 1
    await store.tidy()
    await store.aclose()
    with open_reading(settings) as reading:
        assert {record.uid for record in reading.all()} == {"u2"}  # the other one has no name any more
        assert reading.store_bytes() > 0


async def test_the_agent_role_reads_the_audit_log(roles: tuple[str, str], tmp_path: Path) -> None:
    """All commands of `audit`, and those that read as much, with the privileges of the agent alone."""
    settings = (await prepared(roles)).model_copy(update={"state_dir": tmp_path / "state"})
    store = await open_store(settings, ACCOUNT)
    await committed(store, Life("u1", upload(back=False)).until(Phase.DONE))
    await committed(store, Life("u2", capture()).until(Phase.RESULT))
    await store.checkpoint(NOW)
    await store.aclose()
    given = {"STATE_URL": roles[1], "STATE_DIR": str(settings.state_dir)}
    for words in (
        ("audit", "verify"),
        ("audit", "log", "name-u1"),
        ("audit", "certificate", "name-u1"),
        ("audit", "export"),
        ("audit", "query", "starts-per-day"),
        ("events",),
        ("logs", "name-u2"),
        ("get",),
        ("explain", "name-u2"),
    ):
        done = await asyncio.to_thread(lambda words=words: finish(spawn(tmp_path, *words, **given)))
        assert done.code == 0, (words, done)


async def test_a_role_that_may_not_vacuum_tells_what_forget_left(
    roles: tuple[str, str], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """[I6] The server would only warn, and skip the tables."""
    settings = (await prepared(roles)).model_copy(update={"state_dir": tmp_path})
    user = Server.parse(roles[1]).user
    (version,) = (await execute(roles[0], "SELECT current_setting('server_version_num')::int"))[0]
    if version >= 170000:
        await execute(roles[0], f"REVOKE MAINTAIN ON ALL TABLES IN SCHEMA public FROM {user}")
    store = await open_store(settings, ACCOUNT)
    await committed(store, Life("u1", upload(back=False)).until(Phase.DONE))
    assert not await store.forget("u1", NOW)
    assert "Run VACUUM as the owner" in store.leftover
    assert not await store.tidy()
    await postgres_server.execute(f"GRANT {Server.parse(roles[0]).user} TO {user}")
    assert await store.tidy()
    await store.aclose()


async def test_the_agent_cannot_change_what_happened(roles: tuple[str, str], tmp_path: Path) -> None:
    """[I5] A stolen password of the agent rewrites no event, and reads nothing of other programs."""
    settings = (await prepared(roles)).model_copy(update={"state_dir": tmp_path})
    owner, agent = roles
    await execute(owner, "CREATE TABLE salaries (of text)")
    store = await open_store(settings, ACCOUNT)
    for taken in Life("u1", upload(back=False)).until(Phase.DONE).steps:
        await store.commit([taken])
    await store.aclose()
    for statement in (
        "UPDATE events SET at = 0",
        "DELETE FROM events",
        "TRUNCATE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TRIGGER events_are_never_changed ON events",
        "DROP TABLE events CASCADE",
        "SET session_replication_role = replica",
        "UPDATE starts SET generation = 2",
        "DELETE FROM starts",
        "DELETE FROM attempts",
        "DELETE FROM commands",
        "DELETE FROM reservations",
        "UPDATE commands SET hash = ''",
        "DELETE FROM recoveries",
        "INSERT INTO migrations (name) VALUES ('0002')",
        "CREATE TABLE mine (of text)",
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "SELECT * FROM salaries",
        "SELECT rolpassword FROM pg_authid",
        "COPY events TO PROGRAM 'cat'",
    ):
        with pytest.raises(DENIED):
            await execute(agent, statement)


async def test_a_role_that_could_do_more_loses_it(roles: tuple[str, str]) -> None:
    await prepared(roles)
    owner, agent = roles
    user = Server.parse(agent).user
    await execute(owner, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}")
    assert store_command("migrate", "--grant", user, STATE_URL=owner).code == 0
    with pytest.raises(DENIED):
        await execute(agent, "UPDATE events SET at = 0")


async def test_the_agent_copies_a_store_into_its_database(roles: tuple[str, str], tmp_path: Path) -> None:
    settings = (await prepared(roles)).model_copy(update={"state_dir": tmp_path / "b", "keys_dir": tmp_path / "keys"})
    path = await filled(tmp_path / "a")
    await copied(Settings(state_url=f"sqlite:///{path}"), settings)
    back = Settings(state_url=f"sqlite:///{tmp_path}/c/agent.db")
    await copied(settings, back)
    assert (tmp_path / "c" / "agent.db").exists()


async def test_an_agent_without_tables_or_privileges_is_told_what_to_do(roles: tuple[str, str], tmp_path: Path) -> None:
    owner, agent = roles
    for prepare in ((), ("migrate", "--state-url", owner)):
        if prepare:
            assert store_command(*prepare).code == 0
        path = await filled(tmp_path / str(len(prepare)))
        keys = str(tmp_path / "keys")
        done = store_command("copy", f"sqlite:///{path}", agent, STATE_DIR=str(tmp_path), KEYS_DIR=keys)
        done.is_one_clear_error("permission denied", "assure-agent store migrate --grant")


def test_a_state_file_needs_no_such_command(tmp_path: Path) -> None:
    done = store_command("migrate", STATE_URL=f"sqlite:///{tmp_path}/agent.db")
    done.is_one_clear_error("which the agent migrates at its start", code=2)


async def test_an_unknown_role_is_named(roles: tuple[str, str]) -> None:
    done = store_command("migrate", "--grant", "nobody-knows", STATE_URL=roles[0])
    done.is_one_clear_error("has no role 'nobody-knows'")


async def test_a_role_that_may_not_read_the_tables_learns_it_in_one_line(roles: tuple[str, str]) -> None:
    owner, agent = roles
    assert store_command("migrate", STATE_URL=owner).code == 0
    for options in ((), ("--grant", Server.parse(agent).user)):
        store_command("migrate", *options, STATE_URL=agent).is_one_clear_error("may not do this", "migrations")
