"""A running agent waits while the server refuses it: a password is being rotated, or a standby is not promoted yet."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import StoreError
from agent.platform.settings import Settings
from agent.store.postgres.store import PostgresStore
from agent.store.reading.reads import Query
from tests.support.restartable_server import RestartableServer, restartable_server
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life

ACCOUNT = "client at https://assure.example"
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agent'"


@pytest.fixture(scope="module")
def server() -> Iterator[RestartableServer]:
    """A server that asks for passwords."""
    with restartable_server() as server:
        (server.data / "pg_hba.conf").write_text(HBA)
        server.rows("CREATE ROLE agent LOGIN PASSWORD 'first'", "CREATE DATABASE agent OWNER agent")
        server.rows("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The local files of the agent."""
    return tmp_path_factory.mktemp("state")


def settings(server: RestartableServer, folder: Path, password: str) -> Settings:
    """The settings of an agent with this password."""
    file = folder / "password"
    file.write_text(f"{password}\n")
    file.chmod(0o600)
    return Settings(state_url=server.url("agent", user="agent"), state_dir=folder, state_password_file=file)


REFUSALS = {
    "the password changed": (
        "ALTER ROLE agent PASSWORD 'second'",
        "refused the credentials",
        "ALTER ROLE agent PASSWORD 'first'",
    ),
    "the database is being restored": (
        "ALTER DATABASE agent RENAME TO away",
        "no such database",
        "ALTER DATABASE away RENAME TO agent",
    ),
    "the server is a standby": (
        "ALTER ROLE agent SET default_transaction_read_only = on",
        "accepts writes",
        "ALTER ROLE agent RESET default_transaction_read_only",
    ),
    "the server cancels each statement": (
        "ALTER ROLE agent SET statement_timeout = 1",
        "cancelled a statement",
        "ALTER ROLE agent RESET statement_timeout",
    ),
    "the user may not connect": (
        "ALTER ROLE agent NOLOGIN",
        "refused the credentials",
        "ALTER ROLE agent LOGIN",
    ),
}


@pytest.mark.parametrize(("refuse", "sentence", "accept"), REFUSALS.values(), ids=REFUSALS)
async def test_a_running_agent_waits_and_a_new_one_ends(
    server: RestartableServer, folder: Path, refuse: str, sentence: str, accept: str
) -> None:
    causes, given = list[str | None](), settings(server, folder, "first")
    ours = await PostgresStore.open(given, ACCOUNT)
    ours.watch(lambda error: None, causes.append)
    refusal = [refuse, END_SESSIONS] if "RENAME" not in refuse else [END_SESSIONS, refuse]
    await asyncio.to_thread(server.rows, *refusal)
    commit = asyncio.ensure_future(ours.commit([Life(f"u {refuse}").steps[0]]))
    while not ours.away:
        await asyncio.sleep(0.01)
    assert sentence in str(causes[0])
    assert "<" not in str(causes[0])
    assert not commit.done()
    with pytest.raises(StoreError, match=sentence):
        await PostgresStore.open(given, None)
    await asyncio.to_thread(server.rows, accept)
    await asyncio.wait_for(commit, PATIENT)
    assert causes[1:] == [None]
    await ours.aclose()


async def test_a_new_password_is_read_from_the_file(server: RestartableServer, folder: Path) -> None:
    ours = await PostgresStore.open(settings(server, folder, "first"), ACCOUNT)
    ours.watch(lambda error: None, lambda cause: None)
    await asyncio.to_thread(server.rows, "ALTER ROLE agent PASSWORD 'third'", END_SESSIONS)
    reading = asyncio.ensure_future(ours.open_requests())
    while not ours.away:
        await asyncio.sleep(0.01)
    settings(server, folder, "third")
    assert await asyncio.wait_for(reading, PATIENT) is not None
    await ours.aclose()
    await asyncio.to_thread(server.rows, "ALTER ROLE agent PASSWORD 'first'")


async def test_a_cancelled_statement_is_repeated(server: RestartableServer, folder: Path) -> None:
    ours = await PostgresStore.open(settings(server, folder, "first"), ACCOUNT)
    answers = [asyncio.ensure_future(ours.query(Query("SELECT pg_sleep(0.3)"))) for _ in range(2)]
    cancelled = []
    while not any(cancelled):
        cancelled = await asyncio.to_thread(server.rows, CANCEL)
    assert [len(await asyncio.wait_for(answer, PATIENT)) for answer in answers] == [1, 1]
    await ours.aclose()
