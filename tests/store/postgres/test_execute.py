"""Statements that are not steps: every value arrives as it is, all or none, also when an answer is lost."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.core.errors import StoreError, StoreLocked
from agent.ports import MetaKey
from agent.store.writing.statements import REMEMBER, Statement
from tests.support.cutting_proxy import Cut
from tests.support.postgres_server import PostgresServer
from tests.support.timeouts import PATIENT

from .support import Opened, opened
from .test_lost_answers import behind_proxy

INSERT = "INSERT INTO scratch (id, t, b, d, n, s) VALUES (?, ?, ?, ?, ?, ?)"
TABLE = """
CREATE TABLE scratch (
    id bigint PRIMARY KEY, t text COLLATE "C", b bytea, d double precision, n bigint, s smallint
)
"""
TEXTS = (
    "", "plain", "it's", 'a "name"', "100 %", "%L %s %I %% %1$L", "back\\slash", "\\x00", "line\nline\ttab\r", "ü €",
    "\U0001f600", "'); DROP TABLE scratch; --", "$1 $$ $x$", "?", "null", "NULL",
)  # fmt: skip


@pytest.fixture
async def ours(database: str) -> AsyncIterator[Opened]:
    """An agent, and a table with every type of column."""
    async with opened(database) as ours:
        await ours.pool.execute(TABLE)
        yield ours


async def kept(ours: Opened, *rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Insert these rows without their ids, and return what the table has then."""
    counts = await ours.commits.execute([Statement(INSERT, [(number, *row) for number, row in enumerate(rows)])])
    assert counts == [len(rows)]
    return await ours.rows("SELECT t, b, d, n, s FROM scratch ORDER BY id")


async def test_every_text_arrives_as_it_is(ours: Opened) -> None:
    rows = [(text, None, None, None, None) for text in TEXTS]
    assert await kept(ours, *rows) == rows


async def test_every_number_arrives_as_it_is(ours: Opened) -> None:
    numbers = (0.0, -0.0, 0.1, 1e22, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 1796234567.123456)
    rows = [(None, None, number, 2**63 - 1, flag) for number in numbers for flag in (0, 1)]
    assert await kept(ours, *rows) == rows
    assert math.isnan((await kept_more(ours, (None, None, math.nan, None, None)))[2])
    assert await kept_more(ours, (None, None, 1, True, False)) == (None, None, 1.0, 1, 0)


async def kept_more(ours: Opened, row: tuple[Any, ...]) -> tuple[Any, ...]:
    await ours.commits.execute([Statement.once(INSERT, 1000, *row)])
    (found,) = await ours.rows("SELECT t, b, d, n, s FROM scratch WHERE id = 1000")
    await ours.pool.execute("DELETE FROM scratch WHERE id = 1000")
    return found


async def test_every_byte_arrives_as_it_is(ours: Opened) -> None:
    rows = [(None, content, None, None, None) for content in (b"", bytes(range(256)), b"\\x00", b"'")]
    assert await kept(ours, *rows) == rows


async def test_a_nul_in_a_text_becomes_a_mark(ours: Opened) -> None:
    """PostgreSQL has no NUL in texts. A fault in a file may quote one."""
    assert await kept(ours, ("a\0b", None, None, None, None)) == [("a\ufffdb", None, None, None, None)]


async def test_statements_are_executed_in_order_and_all_or_none(ours: Opened) -> None:
    first, empty = Statement.once(INSERT, 1, "a", None, None, None, None), Statement(INSERT, [])
    change = Statement("UPDATE scratch SET t = ? WHERE id = ?", [("b", 1), ("c", 2)])
    assert await ours.commits.execute([first, empty, change]) == [1, 0, 1]
    assert await ours.commits.execute([]) == []
    with pytest.raises(StoreError, match="refused a statement"):
        await ours.commits.execute([Statement.once("DELETE FROM scratch"), first, first])
    assert await ours.rows("SELECT id, t FROM scratch") == [(1, "b")]


async def test_many_rows_are_one_statement(ours: Opened) -> None:
    """As many as the faults of a broken template."""
    rows = [(number, f"file-{number % 100}.yaml", None, None, number, None) for number in range(10_000)]
    assert await ours.commits.execute([Statement(INSERT, rows)]) == [10_000]
    assert await ours.rows("SELECT count(*) FROM scratch WHERE n = id") == [(10_000,)]


@pytest.mark.parametrize("cut", [Cut.QUESTION, Cut.ANSWER], ids=str)
async def test_a_lost_answer_is_repeated(postgres_server: PostgresServer, database: str, cut: Cut) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        await ours.commits.execute([Statement.once(REMEMBER, MetaKey.ACCOUNT, "one")])
        proxy.cut(cut)
        await asyncio.wait_for(ours.commits.execute([Statement.once(REMEMBER, MetaKey.ACCOUNT, "two")]), PATIENT)
        assert proxy.pending == 0
        assert await ours.rows("SELECT value FROM meta WHERE key = 'account'") == [("two",)]


async def test_an_agent_that_lost_the_database_executes_nothing(ours: Opened) -> None:
    await ours.pool.execute("DELETE FROM replicas")
    with pytest.raises(StoreLocked, match="has ended, and another one removed it"):
        await ours.commits.execute([Statement.once(INSERT, 1, "a", None, None, None, None)])
    assert await ours.rows("SELECT * FROM scratch") == []


async def test_a_lease_that_ended_is_renewed_if_nobody_joined(ours: Opened) -> None:
    """An outage may last longer than the lease."""
    await ours.pool.execute("UPDATE replicas SET until = now() - interval '1 hour'")
    assert await ours.commits.execute([Statement.once(INSERT, 1, "a", None, None, None, None)]) == [1]
