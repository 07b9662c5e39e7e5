"""Questions in SQL: nothing can be written, no secret can be read, and the named ones say what they answer [I6, I7]."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.store.audit.query_library import CLOSED, OPEN, SHIPPED, Query, library, read
from agent.store.sqlite.audit_queries import SqliteQueries
from verification.builders.lives import LINK, Life
from verification.builders.records import capture

from .support import committed, opened, rows

QUERIES = library(SHIPPED)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with a request that is done, and one whose capture link is out."""
    store = opened(tmp_path)
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2", desired=capture()).until(Phase.RESULT))
    store.close()
    assert rows(tmp_path, "SELECT link FROM links") == [(LINK,)]
    return tmp_path / "agent.db"


def answered(path: Path, sql: str, **values: str) -> list[tuple[object, ...]]:
    with SqliteQueries(path).run(sql, values) as answer:
        return [tuple(row) for row in answer.rows]


def test_every_table_is_open_or_closed(path: Path) -> None:
    """A new one is closed until somebody decides."""
    tables = {row[0] for row in rows(path.parent, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {table for table in tables if not table.startswith(("sqlite_", "_sqlite"))} == OPEN | CLOSED
    assert not OPEN & CLOSED


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM links",
        "SELECT count(*) FROM LINKS",
        "SELECT (SELECT link FROM links)",
        "SELECT * FROM requests JOIN links USING (uid)",
        "WITH requests AS (SELECT * FROM links) SELECT * FROM requests",
        "SELECT * FROM main.links",
        "SELECT * FROM meta",
        "SELECT * FROM pragma_table_info('links')",
        "PRAGMA query_only = OFF",
        "UPDATE requests SET outcome = 'accepted' RETURNING uid",
        "DELETE FROM events RETURNING id",
        "INSERT INTO commands SELECT 1, 1, 1, 1, 1 RETURNING id",
        "CREATE TEMP TABLE mine (a)",
        "CREATE TEMP VIEW mine AS SELECT * FROM links",
        "DROP TRIGGER events_are_never_changed",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('evil')",
        "BEGIN IMMEDIATE",
    ],
)
def test_a_query_that_is_no_read_of_an_open_table_is_refused(path: Path, sql: str) -> None:
    before = path.read_bytes()
    with pytest.raises(AgentError, match="The query is refused"):
        answered(path, sql)
    assert path.read_bytes() == before
    assert not path.with_name("copy.db").exists()


@pytest.mark.parametrize(
    "sql", ["SELEC", "SELECT 1; SELECT 2", "SELECT * FROM nothing", "SELECT foo FROM requests", ""]
)
def test_a_query_that_cannot_be_run_is_said(path: Path, sql: str) -> None:
    with pytest.raises(AgentError) as caught:
        answered(path, sql)
    assert caught.value.hint


def test_every_other_read_feature_of_sqlite_works(path: Path) -> None:
    sql = """
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3)
        SELECT sum(n), max(upper(events.type)), row_number() OVER (), count(DISTINCT key)
        FROM n, events, json_each(events.changes)
    """
    assert len(answered(path, sql)) == 1


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_named_query_says_what_it_answers_and_knows_its_parameters(path: Path, query: Query) -> None:
    assert re.fullmatch(r"[A-Z].+\.", query.title), "one sentence"
    assert query.about
    assert set(re.findall(r":([a-z_]+)", query.sql)) == {key for key, _ in query.parameters}
    empty = {key: "" for key, _ in query.parameters}
    everything = answered(path, query.sql, **empty)
    for key in empty.keys() & {"since", "until"}:
        early, late = (
            answered(path, query.sql, **empty | {key: "2000"}),
            answered(path, query.sql, **empty | {key: "3000"}),
        )
        none, whole = (early, late) if key == "until" else (late, early)
        assert (none, whole) == ([], everything)


def test_a_file_of_ones_own_is_a_query_and_wins(tmp_path: Path) -> None:
    (tmp_path / "operator-commands.sql").write_text("-- Mine.\nSELECT 1 -- one\n")
    found = library(SHIPPED, tmp_path, tmp_path / "absent")
    assert found.keys() == QUERIES.keys()
    mine = found["operator-commands"]
    assert (mine.title, mine.parameters, mine.sql) == ("Mine.", (), "SELECT 1 -- one")
    assert read(SHIPPED / "operator-commands.sql").title != "Mine."


def test_the_views_have_times_as_text_and_no_secret(path: Path) -> None:
    views = SqliteQueries(path).views()
    for name, columns in views.items():
        for row in rows(path.parent, f"SELECT * FROM {name}"):
            values = dict(zip(columns, row, strict=True))
            assert LINK not in row
            for column, value in values.items():
                if isinstance(value, float):
                    assert column.endswith("seconds"), f"{name}.{column}"


def test_the_views_can_be_read_by_the_sqlite_of_the_system(path: Path) -> None:
    """It is older than ours. Asked in another process: two of them in one do not see each other's locks."""
    script = """if True:
        import sqlite3, sys
        connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
        for name in sys.argv[2:]:
            connection.execute(f"SELECT * FROM {name}").fetchall()
    """
    subprocess.run([sys.executable, "-c", script, path, *SqliteQueries(path).views()], check=True)
