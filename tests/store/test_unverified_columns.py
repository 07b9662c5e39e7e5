"""Each column that can be changed without a finding is in the list of docs/audit.md, and no other [I5]."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent.core.record import Phase
from agent.store.audit.checkpoints import checkpoint_path
from agent.store.audit.histories import with_histories
from agent.store.audit.verify import NameChecks, verify_request
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import reader
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import NOW, capture

from .support import committed, opened, raw, rows
from .test_tampering_people import peopled

GUIDE = Path(__file__).parents[2] / "docs/audit.md"
_OURS_ALONE = {"sqlite_sequence", "_sqlite_migrations"}
# Values for any field; the record takes those that fit.
_OTHER: tuple[Any, ...] = (
    True, False, 3, 0.5, "x", "", [], {}, "process", "accepted", ["x"], [["front", "x"]],
    {"country": "NLD", "type": "x"},
    {"reason": "refused-by-assure", "evidence": "x"},
)  # fmt: skip


def listed() -> dict[str, set[str]]:
    """By table, the columns that are in no chain, as the document says; `*` are all of them."""
    text = GUIDE.read_text().partition("### Columns in no chain\n")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            table, columns, _ = (cell.strip() for cell in line.strip("|").split(" | ", 2))
            these = {"*"} if columns == "all" else set(re.findall(r"`([^`]+)`", columns))
            found.setdefault(table.strip("`"), set()).update(these)
    return found


@pytest.fixture
async def whole(tmp_path: Path) -> Path:
    """A state file with a row in every table, and nothing for the audit to find."""
    store = opened(tmp_path)
    await peopled(store)
    await committed(store, Life("u3", desired=capture()).until(Phase.RESULT))
    await store.checkpoint(NOW)
    store.close()
    connection = raw(tmp_path)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    for table, columns in tables(tmp_path).items():
        if not connection.execute(f"SELECT 1 FROM {table}").fetchone():
            values = ", ".join(
                "'u1'" if name == "uid" else "'x'" if kind == "TEXT" else "1" for name, kind in columns.items()
            )
            connection.execute(f"INSERT INTO {table} VALUES ({values})")
    connection.close()
    assert verified(tmp_path / "agent.db").findings == ()
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
    for path in (folder / "agent.db", folder / "agent.key", checkpoint_path(folder / "agent.db")):
        shutil.copy(path, there)
    connection = raw(there)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("PRAGMA ignore_check_constraints=ON")
    changed = connection.execute(sql, values).rowcount
    connection.close()
    assert changed, sql
    return bool(verified(there / "agent.db").findings)


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
        if unchained.get(table, set()) | {"uid"} == set(columns) | {"uid"}:  # a uid of no request is found
            unchained[table] = {"*"}
    assert unchained == {table: columns for table, columns in said.items() if table not in ("meta", "requests.record")}


def test_each_note_of_the_store_is_checked_or_in_the_list(whole: Path) -> None:
    keys = [key for (key,) in rows(whole, "SELECT key FROM meta")]
    checked = {key for key in keys if is_found(whole, "UPDATE meta SET value = value || 'x' WHERE key = ?", key)}
    assert checked == {"key", "checkpoint", "commands"}
    assert listed()["meta"] == set(keys) - checked | {"remembered/"}


def test_each_field_of_a_record_is_in_a_chain_or_in_the_list(whole: Path) -> None:
    """A value that no record can have is found in any case, so several are tried."""
    found: set[str] = set()
    with reader(whole / "agent.db") as connection:
        names = NameChecks(keys=Keys.existing(whole / "agent.db"))
        known = connection.execute("SELECT * FROM requests WHERE uid <> 'u2'")
        columns = [column[0] for column in known.description]
        requests = [dict(zip(columns, values, strict=True)) for values in known]
        for row, history in with_histories(connection, requests):
            for path, record in others(orjson.loads(row["record"])):
                changed = {**row, "record": orjson.dumps(record).decode()}
                if not any(verify_request(changed, history, names)):
                    found.add(path)
    assert found == listed()["requests.record"]


def others(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A record as JSON with another value in one field, of its own or of its document: the path, and that record."""
    desired = record["desired"]
    for key, value in record.items():
        if key != "desired":
            yield from ((key, {**record, key: other}) for other in (*_OTHER, *_like(value)) if other != value)
    for key, value in desired.items():
        for other in (*_OTHER, *_like(value)):
            if other != value:
                yield f"desired.{key}", {**record, "desired": {**desired, key: other}}


def _like(value: Any) -> Iterator[Any]:
    """Other values of the same shape."""
    if isinstance(value, str):
        yield f"{value}x"
    elif isinstance(value, float):
        yield value + 1
    elif isinstance(value, dict):
        yield from ({**value, key: other} for key in value for other in _like(value[key]))
