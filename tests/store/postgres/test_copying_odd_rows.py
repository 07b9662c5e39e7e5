"""`store copy` of texts and numbers that the engines write in different ways: there and back, nothing changes."""

from pathlib import Path

import pytest

from agent.store.sqlite.connection import sqlite3
from tests.store.copy_support import copied, database_settings, file_settings, filled
from tests.store.support import changed

from .test_copying import rows_of_file

ODD_TEXTS = (
    "", "%", "%L %1$s", "'", '"', "\\", "\\x00", "\\u0000", "\\N", "\t\r\n", "?", "$1", "NULL", "\u00e9", "e\u0301",
    "\U0001f600", "\U0010ffff", "\ufeff", "\x7f", "{}", "x" * 50_000,
)  # fmt: skip
ODD_NUMBERS = (
    "-0.0",
    "5e-324",
    "1.7976931348623157e308",
    "0.1",
    "0.30000000000000004",
    "1e22",
    "1e23",
    "9e999",
    "-9e999",
)
ODD_COUNTS = (2**31, 2**53 + 1, 2**63 - 1, -(2**63), 0)


@pytest.fixture
async def odd(tmp_path: Path) -> Path:
    """A state file with such rows."""
    path = await filled(tmp_path / "a")
    connection = sqlite3.connect(path, isolation_level=None)
    for number, text in enumerate(ODD_TEXTS):
        row = ("default", f"f{number}", 1, number, text, text, text)
        connection.execute("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO meta VALUES (?, ?)", (f"remembered/{number}", text))
    connection.close()
    numbers = [f"INSERT INTO receipts VALUES ('n{one}', {one})" for one in ODD_NUMBERS]
    counts = [f"INSERT INTO sources VALUES ('s{one}', 1.5, {one}, 1, 0)" for one in ODD_COUNTS]
    metas = [f"INSERT INTO meta VALUES ('number/{one}', {one})" for one in ODD_NUMBERS]
    changed(path.parent, *numbers, *counts, *metas)
    return path


async def test_odd_rows_arrive_and_come_back(odd: Path, empty_database: str, tmp_path: Path) -> None:
    before = rows_of_file(odd.parent)
    database = database_settings(empty_database, tmp_path / "b")
    await copied(file_settings(odd), database)
    back = tmp_path / "c" / "agent.db"
    await copied(database, file_settings(back))
    after = rows_of_file(back.parent)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        assert sorted(map(repr, after[name])) == sorted(map(repr, rows)), name


async def test_a_nul_that_a_fault_quotes_is_copied_as_the_agent_writes_it(empty_database: str, tmp_path: Path) -> None:
    path = await filled(tmp_path / "a")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO refusals VALUES ('default', 'n', 1, 2, ?, '', NULL)", ("a\0b",))
    connection.close()
    database = database_settings(empty_database, tmp_path / "b")
    await copied(file_settings(path), database)
    back = tmp_path / "c" / "agent.db"
    await copied(database, file_settings(back))
    assert "a\ufffdb" in [row[4] for row in rows_of_file(back.parent)["refusals"]]
