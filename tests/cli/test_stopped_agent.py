"""A process that was stopped for longer than its lease calls nothing at Assure that another agent may call [I7]."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from agent.sandbox import SandboxServer
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.ownership import Ownership
from agent.store.postgres.persistence import Persistence
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


async def take_over(url: str) -> None:
    """Become the owner when the lease of the previous agent has ended."""
    server = Server.parse(url)
    pool = await open_pool(server)
    await Ownership(Persistence(pool, str(server))).join(patient=True)
    await pool.close()


@pytest.mark.slow
def test_it_sends_no_call_whose_intent_it_committed_before(here: Here, remote: SandboxServer, database: str) -> None:
    """The rate limit holds calls back between their intent and their first byte."""
    for number in range(20):
        write(here.folder / f"specs/{number}.yaml", upload(f"r-{number}", {"front": "front.jpg"}))
    here.env |= {"BASE_URL": remote.url, "STATE_URL": database, "RATE_LIMIT": "2"}
    agent = spawn(here.folder, "run", *FREE_PORT, **here.env)
    eventually(lambda: remote.ledger.calls["createDossier"] >= 3)
    agent.send_signal(signal.SIGSTOP)
    asyncio.run(take_over(database))
    before = Counter(remote.ledger.calls)
    agent.send_signal(signal.SIGCONT)
    said = finish(agent)
    said.is_one_clear_error("Another agent has taken the database")
    assert "a record changed meanwhile" not in said.err
    sent = Counter(remote.ledger.calls) - before
    assert not {name for name in sent if not name.startswith("get")} - {"token"}, sent
