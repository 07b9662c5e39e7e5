"""The commits of one request on PostgreSQL, as the server counts them: not one more than on SQLite."""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from agent.daemon.agent import Agent
from agent.platform.settings import Settings
from agent.sandbox import SandboxConfig, SandboxServer
from agent.store.postgres.versions import NUMBER
from tests.support.postgres_server import PostgresServer, database, postgres_server
from tests.support.timeouts import PATIENT
from tests.system.test_call_budget import COMMITS
from verification.builders.request_files import capture, upload, write_atomically, write_pictures
from verification.builders.settings import settings

__all__ = ["database", "postgres_server"]  # fixtures
COUNTED = f"SELECT calls FROM pg_stat_user_functions WHERE funcname = 'commit_batch_{NUMBER}'"


@pytest.mark.parametrize("mode", ["upload", "capture"])
async def test_a_lifecycle_is_as_many_commits_as_on_sqlite(
    postgres_server: PostgresServer, database: str, tmp_path: Path, mode: str
) -> None:
    name = urlsplit(database).path.removeprefix("/")
    await postgres_server.execute(f"ALTER DATABASE {name} SET track_functions = pl")
    for folder in ("specs", "images"):
        (tmp_path / folder).mkdir()
    text = upload("a", write_pictures(tmp_path / "images", "a", "a")) if mode == "upload" else capture("a")
    write_atomically(tmp_path / "specs" / "a.yaml", text)
    async with SandboxServer(SandboxConfig(verification_delay=(0.0, 0.0))) as sandbox:
        others = {"state_url": database, "state_dir": tmp_path / "state", "poll_interval": 0.2}
        async with Agent.opened(Settings(**settings(tmp_path, sandbox.url, **others))) as agent:
            finished = await agent.run_once(PATIENT)
    assert not finished.unfinished
    assert await calls_of_commit_batch(postgres_server, name) == COMMITS[mode] <= 9


async def calls_of_commit_batch(server: PostgresServer, name: str) -> int:
    """The calls in this database. A session adds its counts when it ends."""
    connection: asyncpg.Connection = await server.connect(name)
    ours = "FROM pg_stat_activity WHERE datname = $1 AND application_name = 'assure-agent'"
    try:
        await connection.fetch(
            f"SELECT pg_terminate_backend(pid) {ours}", name
        )  # the reads of a process stay connected
        while await connection.fetchval(f"SELECT count(*) {ours}", name):
            pass
        return int(await connection.fetchval(COUNTED) or 0)
    finally:
        await connection.close()
