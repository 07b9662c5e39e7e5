"""Statements that wait for a server: the wait ends when it has to."""

import asyncio
from typing import Any

import pytest

from agent.core.errors import StoreAway, StoreError
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.errors import translated
from agent.store.postgres.persistence import Persistence
from tests.support.timeouts import PATIENT


async def test_a_connection_that_breaks_at_the_limit_does_not_prolong_the_wait(database: str) -> None:
    """The driver then raises its own error, which hides the cancellation."""

    async def breaking(_: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    pool = await open_pool(Server.parse(database))
    waiting = Persistence(pool, "db")
    waiting.limit(0.05)
    with pytest.raises(StoreAway):
        await asyncio.wait_for(waiting.ask(breaking), PATIENT)
    await pool.close()


async def test_an_error_quotes_no_value_that_cannot_be_sent(database: str) -> None:
    """[I6]"""
    pool = await open_pool(Server.parse(database))
    with pytest.raises(StoreError) as refused, translated("db"):
        await pool.fetch("SELECT $1::bigint", "customer-4711")
    assert "4711" not in str(refused.value)
    await pool.close()


async def test_an_urgent_statement_waits_for_no_other(database: str) -> None:
    """[I7] A replica whose connections are all in use renews its lease."""
    pool = await open_pool(Server.parse(database))
    waiting, go = Persistence(pool, "db"), asyncio.Event()

    async def held(_: Any) -> None:
        await go.wait()

    others = [asyncio.create_task(waiting.ask(held)) for _ in range(10)]
    while pool.get_idle_size() or pool.get_size() < pool.get_max_size() - 1:
        await asyncio.sleep(0)
    one = waiting.ask(lambda connection: connection.fetchval("SELECT 1"), urgent=True)
    assert await asyncio.wait_for(one, PATIENT) == 1
    go.set()
    await asyncio.gather(*others)
    await pool.close()
