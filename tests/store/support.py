"""A store in a folder of its own, and lives of requests that are committed to it."""

from pathlib import Path
from typing import Any

from agent.core.record import Phase
from agent.store.contract import Store
from agent.store.sqlite.connection import Connection, sqlite3
from agent.store.sqlite.store import SqliteStore
from verification.builders.lives import Life
from verification.builders.records import upload

ACCOUNT = "https://api.example client-1"


def opened(folder: Path, **options: Any) -> SqliteStore:
    """The store in this folder."""
    return SqliteStore(folder / "agent.db", ACCOUNT, **options)


def raw(folder: Path) -> Connection:
    """A connection past all our care, for tampering and for looking."""
    return sqlite3.connect(folder / "agent.db", isolation_level=None)


def rows(folder: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query says."""
    connection = raw(folder)
    try:
        return list(connection.execute(sql, values))
    finally:
        connection.close()


def changed(folder: Path, *statements: str) -> None:
    """Tamper: the triggers are dropped first."""
    connection = raw(folder)
    for name in ("events_are_never_changed", "events_are_never_deleted"):
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def committed(store: Store, life: Life) -> Life:
    """Commit all that happened, step by step."""
    for taken in life.steps:
        await store.commit([taken])
    return life


async def grown(folder: Path, requests: int, **options: Any) -> SqliteStore:
    """A store with so many done requests, u0000000 and on: the rows of one real life, multiplied by plain SQL."""
    folder.mkdir(exist_ok=True)
    store = opened(folder, **options)
    desired = upload(back=False, labels=(("team", "onboarding"),))
    life = await committed(store, Life("template", desired).until(Phase.DONE))
    uid = life.record.uid
    many = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {requests - 1})"

    def multiply(connection: Connection) -> None:
        for table in ("requests", "events", "attempts", "starts", "reservations", "labels"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            special = {
                "id": f"(SELECT max(id) FROM events) * (n.i + 1) + {table}.id",
                "uid": "printf('u%07d', n.i)",
                "name": "printf('name-%07d', n.i)",
                "reference": "printf('aa-a1-u%07d-1-1', n.i)",
            }
            columns = ", ".join(special.get(name, f"{table}.{name}") for name in names)
            connection.execute(
                f"INSERT INTO {table} ({', '.join(names)}) {many} SELECT {columns} FROM n, {table} WHERE uid = ?",
                (uid,),
            )

        connection.execute("UPDATE request_counts SET requests = requests + ? WHERE phase = 'done'", (requests,))

    await store._writer.write(multiply)
    return store
