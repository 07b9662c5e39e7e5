"""The auditor's commands print the same for a database as for a state file with the same history."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from agent.core.record import Phase
from agent.platform.clock import SystemClock
from agent.ports import Command
from agent.store.audit.query_library import SHIPPED, library
from tests.cli.command_runner import CommandResult, Here, finish, spawn, wait_for
from tests.store.engines import Engine, PostgresEngine, SqliteEngine
from tests.store.support import committed
from tests.support.postgres_server import PostgresServer, postgres_server
from verification.builders.lives import Life
from verification.builders.records import NOW, ORIGIN, capture, upload

__all__ = ["postgres_server"]

LABELS = (("team", "red"),)


async def written(engine: Engine) -> None:
    """Requests that are done, forgotten and open, commands, and two checkpoints."""
    engine.settings.key_path.write_text("5b" * 32)
    async with engine.opened() as store:
        await committed(store, Life("u1", upload(labels=LABELS, origin=ORIGIN, file="a.yaml")).until(Phase.DONE))
        await committed(store, Life("u2", capture()).until(Phase.RESULT))
        await store.checkpoint(NOW + 50)
        await committed(store, Life("u3", upload(retention=60.0)).until(Phase.DONE))
        await store.apply_command(Command(id="c1", verb="pause", uid=None, sender="root (uid 0)"), "paused", NOW + 60)
        await store.apply_command(Command(id="c2", verb="resolve", uid="u1", sender=None), "resolved", NOW + 61)
        await store.forget("u3", NOW + 100)
        await store.checkpoint(NOW + 101)


@pytest.fixture
async def both(
    folder: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Engine]]:
    """The same history on SQLite and on PostgreSQL."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "5a" * size)  # salts are random
    monkeypatch.setattr(SystemClock, "now", lambda _: NOW + 3600)
    engines = [SqliteEngine(folder / "sqlite"), PostgresEngine(folder / "postgres", postgres_server)]
    for engine in engines:
        await engine.begin()
        await written(engine)
    yield engines
    for engine in engines:
        await engine.end()


def environment(engine: Engine) -> dict[str, str]:
    given = engine.settings
    return {"STATE_URL": given.state_url} | ({"STATE_DIR": str(given.state_dir)} if given.uses_database else {})


async def said(here: Here, engine: Engine, *words: str) -> CommandResult:
    return await asyncio.to_thread(here, *words, **environment(engine))


COMMANDS = (
    ("audit", "verify"),
    ("audit", "verify", "-o", "json"),
    ("audit", "log", "name-u1"),
    ("audit", "log", "u3", "-o", "json"),
    ("audit", "certificate", "name-u1"),
    ("audit", "certificate", "u3", "-o", "json"),
    ("audit", "export"),
    ("audit", "export", "name-u2"),
    ("events",),
    ("events", "-o", "json"),
    ("events", "name-u1", "u3", "--since", "3590s"),
    ("events", "-l", "team=red"),
    ("logs", "name-u2"),
    ("logs", "u3", "-o", "json"),
    ("logs", "name-u1", "--follow"),
    *(("audit", "query", name, "-o", "csv") for name in library(SHIPPED)),
)


async def test_every_command_prints_the_same(both: list[Engine], here: Here) -> None:
    for words in COMMANDS:
        embedded, database = [await said(here, engine, *words) for engine in both]
        assert database == embedded, words
        assert (database.code, database.err) == (0, ""), words
        assert database.out, words


async def test_an_export_is_verified_without_us(both: list[Engine], here: Here, folder: Path) -> None:
    """[I5]"""
    for engine in both:
        state = engine.settings.local_path.parent
        script = (await said(here, engine, "audit", "export", "--script")).out
        (state / "verify_export.py").write_text(script)
        assert (await said(here, engine, "audit", "export", "--to", str(state / "history.jsonl"))).code == 0
        command = [sys.executable, "-I", "-S", "verify_export.py", "history.jsonl"]
        command += ["--checkpoints", "agent.checkpoints.jsonl"]
        made = subprocess.run(command, cwd=state, capture_output=True, text=True, check=False)
        assert (made.returncode, made.stderr) == (0, "")
    embedded, database = ((engine.settings.local_path.parent / "history.jsonl").read_bytes() for engine in both)
    assert database == embedded


async def test_tampering_is_found_and_ends_with_1(both: list[Engine], here: Here, folder: Path) -> None:
    """[I5] Also with a copy of the checkpoints, when the journal is rewritten and the file is gone."""
    _, database = both
    checkpoints = database.settings.state_dir / "agent.checkpoints.jsonl"
    copy = folder / "copy.jsonl"
    copy.write_bytes(checkpoints.read_bytes())
    await database.change("UPDATE events SET at = at + 1 WHERE id = 5")
    found = await said(here, database, "audit", "verify")
    assert found.code == 1
    assert "event 5, event 5 of request u1: the event is not what was written" in found.out
    (await said(here, database, "audit", "certificate", "name-u1")).is_one_clear_error("so it proves nothing")
    checkpoints.unlink()
    await database.change("DELETE FROM meta WHERE key = 'checkpoint'", "UPDATE events SET hash = 'x' WHERE id = 5")
    found = await said(here, database, "audit", "verify", "--checkpoints", str(copy), "-o", "json")
    assert found.code == 1
    messages = [one["message"] for one in found.json["findings"]]
    assert any("was changed, removed, inserted or moved: checkpoint 1" in message for message in messages)


async def test_a_followed_log_ends_when_the_request_is_done(folder: Path, postgres_server: PostgresServer) -> None:
    engine = PostgresEngine(folder / "state", postgres_server)
    await engine.begin()
    life = Life("u1").until(Phase.DONE)
    async with engine.opened() as store:
        for step in life.steps[:3]:
            await store.commit([step])
        process = spawn(folder, "logs", "name-u1", "-f", "-o", "json", **environment(engine))
        await asyncio.to_thread(wait_for, process, '"seq":3')
        for step in life.steps[3:]:
            await store.commit([step])
        ended = await asyncio.to_thread(finish, process)
    assert (ended.code, ended.err) == (0, "")
    written = await engine.rows("SELECT id, hash FROM events WHERE id > 3 ORDER BY id")
    assert [(line["event"], line["hash"]) for line in map(orjson.loads, ended.out.splitlines())] == written
    await engine.end()


async def test_a_select_needs_the_role_of_auditors(both: list[Engine], here: Here) -> None:
    """[I6]"""
    embedded, database = both
    select = ("audit", "query", "--sql", "SELECT uid, phase FROM requests_now ORDER BY uid", "-o", "json")
    (await said(here, database, *select)).is_one_clear_error("audit query --roles")
    roles = await said(here, database, "audit", "query", "--roles")
    await database.change(roles.out)
    first, second = [await said(here, engine, *select) for engine in both]
    assert first == second
    assert [row["uid"] for row in second.json["items"]] == ["u1", "u2", "u3"]
    secret = await said(here, database, "audit", "query", "--sql", "SELECT * FROM links")
    secret.is_one_clear_error("The query is refused: permission denied for table links")
    (await said(here, embedded, "audit", "query", "--roles")).is_one_clear_error("A state file has no roles")
    (await said(here, database, "audit", "query", "--datasette")).is_one_clear_error("Datasette reads SQLite only")


async def test_the_list_has_the_same_queries_and_views(both: list[Engine], here: Here) -> None:
    embedded, database = [(await said(here, engine, "audit", "query", "-o", "json")).json for engine in both]
    for one in (embedded, database):
        for item in one["items"]:
            assert item.pop("sql")
    assert database == embedded
    first, second = [(await said(here, engine, "audit", "query")).out for engine in both]
    assert first == second


@pytest.mark.parametrize(
    "words",
    [("audit", "log", "x"), ("audit", "certificate", "x"), ("audit", "export", "x"), ("logs", "x"), ("events", "x")],
)
async def test_an_unknown_name_is_one_clear_error(both: list[Engine], here: Here, words: tuple[str, ...]) -> None:
    (await said(here, both[1], *words)).is_one_clear_error("There is no request named x")


@pytest.mark.parametrize("words", [("audit", "verify"), ("audit", "export"), ("events",), ("audit", "query", "holds")])
async def test_a_database_that_cannot_be_read_is_one_clear_error(
    postgres_server: PostgresServer, here: Here, words: tuple[str, ...]
) -> None:
    none = postgres_server.url("none")
    (await asyncio.to_thread(here, *words, STATE_URL=none)).is_one_clear_error("no such database")
    empty = postgres_server.url("postgres")
    (await asyncio.to_thread(here, *words, STATE_URL=empty)).is_one_clear_error("has no tables of an agent yet")
    gone = "postgresql://agent@127.0.0.1:1/store"
    (await asyncio.to_thread(here, *words, STATE_URL=gone)).is_one_clear_error("cannot be reached")
