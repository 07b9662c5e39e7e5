"""Each column that can be changed without a finding is in the list of state/README.md, and no other [I5]."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent.core.record import Phase
from agent.store.audit.checkpoints import beside
from agent.store.audit.history import verify

from .support import NOW, Life, capture, committed, raw, rows
from .test_tampering_people import peopled

README = Path(__file__).parents[2] / "state/README.md"
_OURS_ALONE = {"sqlite_sequence", "_sqlite_migrations"}
_OTHER: tuple[Any, ...] = (True, False, 3, 0.5, "x", "", [], {}, "process", "accepted", [["front", "x"]])


def listed() -> dict[str, set[str]]:
    """By table, the columns that are in no chain, as the document says; `*` are all of them."""
    text = README.read_text().partition("### What is in no chain\n")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            table, columns, _ = (cell.strip() for cell in line.strip("|").split(" | ", 2))
            found[table.strip("`")] = {"*"} if columns == "all" else set(re.findall(r"`([^`]+)`", columns))
    return found


@pytest.fixture
async def whole(tmp_path: Path) -> Path:
    """A state file with a row in every table, and nothing for the audit to find."""
    store = await peopled(tmp_path)
    await committed(store, Life("u3", desired=capture()).until(Phase.RESULT))
    await store.checkpoint(NOW)
    store.close()
    connection = raw(tmp_path)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    for table, columns in tables(tmp_path).items():
        if not connection.execute(f"SELECT 1 FROM {table}").fetchone():
            values = ", ".join("'x'" if kind == "TEXT" else "1" for kind in columns.values())
            connection.execute(f"INSERT INTO {table} VALUES ({values})")
    connection.close()
    assert verify(tmp_path / "agent.db").findings == ()
    return tmp_path


def tables(folder: Path) -> dict[str, dict[str, str]]:
    """All tables: their columns, and the type of each."""
    names = [name for (name,) in rows(folder, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    sql = "SELECT name, type FROM pragma_table_info(?)"
    return {name: dict(rows(folder, sql, name)) for name in names if name not in _OURS_ALONE}


def is_found(folder: Path, sql: str, *values: Any) -> bool:
    """True when the audit finds something once this was done to a copy of the store, with all its triggers dropped."""
    there = folder / "copy"
    there.mkdir(exist_ok=True)
    for path in (folder / "agent.db", folder / "agent.key", beside(folder / "agent.db")):
        shutil.copy(path, there)
    connection = raw(there)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("PRAGMA ignore_check_constraints=ON")
    changed = connection.execute(sql, values).rowcount
    connection.close()
    assert changed, sql
    return bool(verify(there / "agent.db").findings)


def test_each_column_is_in_a_chain_or_in_the_list(whole: Path) -> None:
    said = listed()
    unchained: dict[str, set[str]] = {}
    for table, columns in tables(whole).items():
        if table == "meta":
            continue
        for column, kind in columns.items():
            other = f"coalesce({column}, '') || 'x'" if kind == "TEXT" else f"coalesce({column}, 0) + 1000000"
            if not is_found(whole, f"UPDATE {table} SET {column} = {other}"):
                unchained.setdefault(table, set()).add(column)
        if unchained.get(table) == set(columns):
            unchained[table] = {"*"}
    assert unchained == {table: columns for table, columns in said.items() if table not in ("meta", "requests.record")}


def test_each_note_of_the_store_is_checked_or_in_the_list(whole: Path) -> None:
    keys = [key for (key,) in rows(whole, "SELECT key FROM meta")]
    checked = {key for key in keys if is_found(whole, "UPDATE meta SET value = value || 'x' WHERE key = ?", key)}
    assert checked == {"key", "checkpoint", "commands"}
    assert listed()["meta"] == {f"all but {key}" for key in ()} | set(keys) - checked | {"remembered/"}


def test_each_field_of_a_record_is_in_a_chain_or_in_the_list(whole: Path) -> None:
    """A value that no record can have is found in any case, so several are tried."""
    found: set[str] = set()
    for uid in ("u1", "u3"):
        ((text,),) = rows(whole, "SELECT record FROM requests WHERE uid = ?", uid)
        for path, value in fields(orjson.loads(text)):
            others = [f"{value}x"] if isinstance(value, str) else [value + 1] if isinstance(value, float) else []
            sql = "UPDATE requests SET record = json_set(record, ?, json(?)) WHERE uid = ?"
            if not all(
                is_found(whole, sql, path, orjson.dumps(v).decode(), uid) for v in (*_OTHER, *others) if v != value
            ):
                found.add(path.removeprefix("$."))
    assert found == listed()["requests.record"]


def fields(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of a record as JSON, and of the document in it: the path, and the value."""
    for key, value in record.items():
        yield f"$.{key}", value
    for key, value in record["desired"].items():
        yield f"$.desired.{key}", value
