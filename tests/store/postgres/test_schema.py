"""The schemas of both engines describe the same store."""

from typing import Any

import pytest

from agent.store.postgres.connect import Server, open_pool
from agent.store.sqlite.connection import Connection, sqlite3
from agent.store.sqlite.migrations import migrate
from verification.database_copy import ONLY_DATABASE

INDEXES_THERE = {"driving_by_epoch", "taken_starts_by_day"}
ONLY_THERE = {*ONLY_DATABASE, "checkpoints"}
KINDS = {
    "TEXT": {"text"},
    "INTEGER": {"bigint", "smallint"},
    "REAL": {"double precision"},
    "BLOB": {"bytea"},
    "": {"text"},
}
COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, coalesce(collname, '')
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_collation ON pg_collation.oid = attcollation
WHERE relnamespace = 'public'::regnamespace AND relkind = ANY($1::"char"[]) AND attnum > 0
ORDER BY relname, attnum
"""
INDEXES = """
SELECT indexrelid::regclass::text, indisunique, indpred IS NOT NULL
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)
ORDER BY indexrelid::regclass::text COLLATE "C"
"""
KEYS = """
SELECT relname, ARRAY(SELECT attname FROM unnest(conkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place)::text[]
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE contype = 'p' ORDER BY 1
"""


@pytest.fixture
def embedded() -> Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def names(connection: Connection, kind: str) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = ? ORDER BY name", (kind,))
    return [row[0] for row in rows if not row[0].startswith(("sqlite_", "_sqlite"))]


def columns(connection: Connection, table: str) -> list[Any]:
    return connection.execute(f"PRAGMA table_info({table})").fetchall()  # type: ignore[no-any-return]


async def test_tables_have_the_same_columns_in_the_same_order(database: str, embedded: Connection) -> None:
    pool = await open_pool(Server.parse(database))
    found: dict[str, list[Any]] = {}
    for table, *column in await pool.fetch(COLUMNS, [b"r"]):
        found.setdefault(table, []).append(column)
    keys = dict(await pool.fetch(KEYS))
    await pool.close()
    assert sorted({*found} - ONLY_THERE) == names(embedded, "table")
    for table in names(embedded, "table"):
        expected = columns(embedded, table)
        assert [column[0] for column in found[table]] == [row[1] for row in expected], table
        key = [row[1] for row in sorted((row for row in expected if row[5]), key=lambda row: row[5])]
        assert keys.get(table, []) == key, table
        for (name, kind, needed, collation), row in zip(found[table], expected, strict=True):
            assert kind in KINDS[row[2]], (table, name)
            assert needed == bool(row[3] or row[5]), (table, name)
            assert collation in ("", "C"), (table, name)


async def test_views_have_the_same_columns(database: str, embedded: Connection) -> None:
    pool = await open_pool(Server.parse(database))
    found: dict[str, list[str]] = {}
    for view, column, *_ in await pool.fetch(COLUMNS, [b"v"]):
        found.setdefault(view, []).append(column)
    await pool.close()
    assert found == {view: [row[1] for row in columns(embedded, view)] for view in names(embedded, "view")}


async def test_indexes_are_the_same(database: str, embedded: Connection) -> None:
    pool = await open_pool(Server.parse(database))
    found = [tuple(row) for row in await pool.fetch(INDEXES) if row[0] not in INDEXES_THERE]
    await pool.close()
    expected = [
        (name, bool(unique), bool(partial))
        for table in names(embedded, "table")
        for _, name, unique, origin, partial in embedded.execute(f"PRAGMA index_list({table})")
        if origin == "c"
    ]
    assert found == sorted(expected)
