"""The copy of a database is judged as a state file, so a fault in the database is found in the copy."""

from pathlib import Path
from urllib.parse import urlsplit

from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store import open_store
from agent.store.audit.verify import verify
from agent.store.sqlite.audit_connection import SqliteAudit
from tests.support.postgres_server import PostgresServer, database, postgres_server
from verification.builders.lives import Life
from verification.builders.settings import settings
from verification.database_copy import copy_to_file

__all__ = ["database", "postgres_server"]  # fixtures
CHANGES = (
    "UPDATE events SET at = at + 1 WHERE id = 3",
    "UPDATE requests SET name = 'another' WHERE uid LIKE '2%'",
)


async def test_the_copy_of_a_sound_database_is_sound_and_each_change_is_found(
    postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    known = Settings(**settings(tmp_path, "http://127.0.0.1:9", state_url=database, state_dir=tmp_path / "state"))
    store = await open_store(known, None)
    for digit in "12":
        for step in Life(digit * 24).until(Phase.DONE).steps:
            await store.commit([step])
    await store.checkpoint(0.0)
    await store.aclose()
    name = urlsplit(database).path.removeprefix("/")

    async def findings(folder: str) -> int:
        state = tmp_path / folder / "agent.db"
        await copy_to_file(postgres_server, name, known.state_dir, state)
        with SqliteAudit.open(state) as audit:
            verdict = verify(audit)
        assert verdict.requests == 2
        return len(verdict.findings)

    assert await findings("sound") == 0
    connection = await postgres_server.connect(name)
    try:
        await connection.execute("SET session_replication_role = replica")  # no triggers
        for number, change in enumerate(CHANGES, start=1):
            await connection.execute(change)
            assert await findings(f"changed-{number}") >= number
    finally:
        await connection.close()
