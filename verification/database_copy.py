"""A copy of a database as a state file, so that the same checks judge both engines: invariants and `audit verify`."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.migrations import create_if_missing
from verification.postgres_server import PostgresServer

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
_LINES = "checkpoints"  # a state file has them in a file
# Tables that a state file does not have.
ONLY_DATABASE = (
    "replicas",
    "fleet",
    "driving",
    "duties",
    "missing_images",
    "taken_starts",
    "circuit",
    "missing_dossiers",
    "migrations",
)


async def copy_to_file(server: PostgresServer, database: str, local: Path, state: Path) -> None:
    """Write the rows of the database, as they are at one time, to a new state file with the same tables.

    `local` has the key of the agent. The checkpoints go into the file next to the state file. Without tables there is
    no file.
    """
    state.parent.mkdir()
    for file in local.glob("agent.*"):
        if file.is_file():
            shutil.copy(file, state.with_name(file.name))
    tables = await _snapshot(server, database)
    if lines := tables.pop(_LINES, []):
        text = "".join(f"{line}\n" for _, line in sorted(map(tuple, lines)))
        state.with_name("agent.checkpoints.jsonl").write_text(text)
    if not tables:
        return
    create_if_missing(state)
    with contextlib.closing(sqlite3.connect(state)) as connection, connection:
        for name, rows in tables.items():
            if not rows:
                continue
            columns = ", ".join(rows[0].keys())
            values = ", ".join("?" * len(rows[0]))
            connection.execute(f"DELETE FROM {name}")
            connection.executemany(f"INSERT INTO {name} ({columns}) VALUES ({values})", map(tuple, rows))


async def _snapshot(server: PostgresServer, database: str) -> dict[str, list[Any]]:
    """The rows of each table."""
    connection = await server.connect(database)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            names = [name for (name,) in await connection.fetch(_TABLES) if name not in ONLY_DATABASE]
            return {name: await connection.fetch(f"SELECT * FROM {name}") for name in names}
    finally:
        await connection.close()
