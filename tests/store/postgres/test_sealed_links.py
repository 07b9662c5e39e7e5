"""Capture links are bearer secrets: nothing of the server contains one, and only the agent's key opens one [I6]."""

import asyncio
from pathlib import Path

import pytest

from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store.identity_key import Keys
from agent.store.postgres.reading import PostgresReading
from agent.store.postgres.sealed_links import LinkSeal
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life
from verification.builders.records import capture

from .support import KEYS, TABLES, opened


def link_of(life: Life) -> str:
    return next(step.link for step in life.steps if step.link is not None)


async def test_no_table_and_no_log_of_the_server_contains_a_link(
    postgres_server: PostgresServer, database: str
) -> None:
    life = Life("u1", capture()).until(Phase.RESULT)
    async with opened(database) as ours:
        for step in life.steps:
            await ours.commits.commit([step])
        assert await ours.rows("SELECT count(*) FROM links") == [(1,)]
        for (table,) in await ours.pool.fetch(TABLES):
            assert all(link_of(life) not in row[0] for row in await ours.rows(f"SELECT t::text FROM {table} AS t"))
        await ours.pool.execute("CHECKPOINT")
    written = [path for path in (Path(postgres_server.folder) / "data").rglob("*") if path.is_file()]
    assert any(b"u1" in path.read_bytes() for path in written if path.parent.name == "pg_wal")
    for path in written:
        assert link_of(life).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(("key", "shown"), [(b"k", True), (b"x", False), (None, False)], ids=["ours", "other", "none"])
async def test_the_link_is_shown_under_the_key_of_the_agent(
    database: str, tmp_path: Path, key: bytes | None, shown: bool
) -> None:
    """Under another key, it counts as lost."""
    life = Life("u1", capture()).until(Phase.RESULT)
    async with opened(database) as ours:
        for step in life.steps:
            await ours.commits.commit([step])
    if key is not None:
        (tmp_path / "agent.key").write_text((key * 32).hex())
    settings = Settings(state_url=database, state_dir=tmp_path)
    await asyncio.to_thread(read, settings, life, shown)


def read(settings: Settings, life: Life, shown: bool) -> None:
    with PostgresReading(settings) as reading:
        assert reading.link("u1") == (link_of(life) if shown else None)
        assert reading.has_lost_link(life.record) is not shown


def test_a_sealed_link_opens_for_its_request_only() -> None:
    seal = LinkSeal(KEYS)
    sealed = seal.seal("u1", "https://capture.example/1")
    assert seal.open("u1", sealed) == "https://capture.example/1"
    assert seal.seal("u1", "https://capture.example/1") != sealed
    assert seal.open("u2", sealed) is None
    assert LinkSeal(Keys(b"x" * 32)).open("u1", sealed) is None
    for damaged in ("", "x", sealed[:-8], "A" + sealed[1:], "https://capture.example/1"):
        assert seal.open("u1", damaged) is None
