"""PgBouncer in transaction mode: two statements of a session may run in two sessions of the server."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.store.postgres.connect import Server
from tests.support.postgres_server import PostgresServer
from tests.support.timeouts import eventually
from verification.builders.lives import Life
from verification.postgres_server import as_other_user

from .support import Opened, opened

SETTINGS = """
[databases]
* = host={server} port=5432
[pgbouncer]
pool_mode = transaction
listen_port = 6432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users.txt
default_pool_size = {sessions}
"""
READ = "SELECT uid FROM requests WHERE uid = ANY($1::text[])"


@pytest.fixture(params=[1, 3], ids=["one session", "three sessions"])
def pooler(postgres_server: PostgresServer, database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the database through a PgBouncer, of PGBOUNCER or of PATH, with so many sessions of the server."""
    program = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is missing: install it, or set PGBOUNCER to the program")
    folder = Path(postgres_server.folder) / f"pooler-{Server.parse(database).database}"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "users.txt").write_text('"postgres" ""\n')
    settings = SETTINGS.format(server=postgres_server.folder, folder=folder, sessions=request.param)
    (folder / "pgbouncer.ini").write_text(settings)
    command = [*as_other_user(), program, "-q", str(folder / "pgbouncer.ini")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: (folder / ".s.PGSQL.6432").exists() or process.poll() is not None)
            assert process.poll() is None, "pgbouncer ended"
            yield f"postgresql://postgres@:6432/{Server.parse(database).database}?host={folder}"
        finally:
            process.terminate()
    shutil.rmtree(folder)


async def lives(ours: Opened, number: int) -> None:
    """Whole lives at the same time as reads."""

    async def live(uid: str) -> None:
        for step in Life(uid).until(Phase.DONE).steps:
            await ours.commits.commit([step])

    async def read() -> None:
        for _ in range(100):
            await ours.persistence.ask(lambda one: one.fetch(READ, ["u1", "u2"]))

    await asyncio.gather(*(live(f"u{one}") for one in range(number)), *(read() for _ in range(6)))


async def test_no_statement_needs_a_session_of_its_own(pooler: str) -> None:
    async with opened(f"{pooler}&statement_cache_size=0") as ours:
        await lives(ours, 30)
        assert await ours.rows("SELECT count(*) FROM requests WHERE phase = 'done'") == [(30,)]
        await ours.counted()


async def test_prepared_statements_are_refused_with_the_remedy(pooler: str) -> None:
    """PgBouncer before 1.21 does not know them. A later one does, and then all is well."""
    try:
        async with opened(pooler) as ours:
            await lives(ours, 30)
    except AgentError as error:
        assert "lost a prepared statement" in str(error)
        assert "add `statement_cache_size=0` to STATE_URL" in error.hint
