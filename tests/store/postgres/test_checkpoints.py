"""One chain of checkpoints for all replicas, in a table, with a copy on each machine [I5]."""

from pathlib import Path

from agent.core.record import Phase
from agent.store.audit.checkpoints import BREAK, lines
from agent.store.contract import Store
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life
from verification.builders.records import NOW

from ..engines import PostgresEngine
from ..support import committed


async def begun(folder: Path, server: PostgresServer) -> PostgresEngine:
    engine = PostgresEngine(folder, server)
    await engine.begin()
    return engine


def beside(first: PostgresEngine, folder: Path, server: PostgresServer) -> PostgresEngine:
    """A replica on another machine, with the same database and the same key file."""
    other = PostgresEngine(folder, server)
    other._name = first._name
    other.configure(state_url=first.settings.state_url, key_file=first.settings.key_path)
    folder.mkdir()
    return other


async def lived(store: Store, uid: str) -> None:
    await committed(store, Life(uid).until(Phase.DONE))


async def test_two_replicas_continue_one_chain(tmp_path: Path, postgres_server: PostgresServer) -> None:
    one = await begun(tmp_path / "one", postgres_server)
    two = beside(one, tmp_path / "two", postgres_server)
    async with one.opened() as first, two.opened() as second:
        await lived(first, "u1")
        (a,) = await first.checkpoint(NOW)
        await lived(second, "u2")
        (b,) = await second.checkpoint(NOW + 300)
        await lived(first, "u3")
        (c,) = await first.checkpoint(NOW + 600)
    assert [line.number for line in (a, b, c)] == [1, 2, 3]
    assert (b.previous, c.previous) == (a.hash, b.hash)
    assert [*lines(one.settings.local_path.with_suffix(".checkpoints.jsonl"))] == [a, b, c]
    assert [*lines(two.settings.local_path.with_suffix(".checkpoints.jsonl"))] == [a, b]
    assert one.faults() == two.faults() == []
    await one.end()


async def test_a_line_that_was_removed_is_found(tmp_path: Path, postgres_server: PostgresServer) -> None:
    one = await begun(tmp_path / "one", postgres_server)
    async with one.opened() as store:
        for number in range(3):
            await lived(store, f"u{number}")
            await store.checkpoint(NOW + number)
    await one.change("DELETE FROM checkpoints WHERE number = 2")
    assert any("lines between them are missing" in fault for fault in one.faults())
    await one.change("DELETE FROM checkpoints WHERE number = 3")
    assert any("checkpoint 3, which the database noted, is missing" in fault for fault in one.faults())


async def test_the_copy_of_a_machine_shows_that_the_database_is_older(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    one = await begun(tmp_path / "one", postgres_server)
    async with one.opened() as store:
        await lived(store, "u1")
        await store.checkpoint(NOW)
    kept = await one.keep()
    async with one.opened() as store:
        await lived(store, "u2")
        await store.checkpoint(NOW + 1)
    await one.bring_back(kept)
    assert any("checkpoint 2 of the copy" in fault for fault in one.faults())
    async with one.opened() as store:
        broken, *_ = await store.checkpoint(NOW + 2)
    assert (broken.kind, broken.number) == (BREAK, 3)
    assert any("the agent found the journal or the checkpoints truncated" in fault for fault in one.faults())
