"""A replica that was stopped for longer than its lease sends no call that another replica may send [I7]."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from agent.sandbox import SandboxServer
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.versions import versioned
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from tests.support.module_databases import databases
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.timeouts import eventually
from verification.builders.request_files import upload, write

__all__ = ["postgres_server"]


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with databases(postgres_server) as url:
        yield url


async def remove(url: str) -> None:
    """Remove the lease of the stopped replica when it has ended, as every other replica does."""
    pool = await open_pool(Server.parse(url))
    while await pool.fetchval("SELECT count(*) FROM replicas"):
        await pool.execute(versioned("SELECT remove_ended()"))
        await asyncio.sleep(0.1)
    await pool.close()


@pytest.mark.slow
def test_it_begins_a_new_life_and_repeats_no_start(here: Here, remote: SandboxServer, database: str) -> None:
    """[I2] [I3] The rate limit holds calls back between their intent and their first byte."""
    for number in range(6):
        write(here.folder / f"specs/{number}.yaml", upload(f"r-{number}", {"front": "front.jpg"}))
    here.env |= {"BASE_URL": remote.url, "STATE_URL": database, "RATE_LIMIT": "4", "REPLICA_LEASE": "3s"}
    agent = spawn(here.folder, "run", *FREE_PORT, **here.env)
    eventually(lambda: remote.ledger.calls["createDossier"] >= 3)
    agent.send_signal(signal.SIGSTOP)
    asyncio.run(remove(database))
    agent.send_signal(signal.SIGCONT)
    eventually(lambda: remote.ledger.calls["deleteDossier"] >= 6)
    eventually(lambda: all(dossier.deleted_at is not None for dossier in remote.ledger.dossiers.values()))
    agent.send_signal(signal.SIGTERM)
    said = finish(agent)
    assert said.code == 0
    assert "the lease ended" in said.err
    starts = [process.starts for dossier in remote.ledger.dossiers.values() for process in dossier.processes]
    assert len(starts) == 6
    assert set(starts) == {1}
