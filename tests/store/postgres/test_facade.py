"""Reads without an event loop, from several threads at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.core.errors import StoreAway, StoreError
from agent.store.postgres import facade as module
from agent.store.postgres.connect import Server
from agent.store.postgres.facade import Facade


def test_threads_read_at_once(database: str) -> None:
    facade = Facade(Server.parse(database))
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda number: facade.query("SELECT $1::bigint, key FROM meta", number), range(50))
        assert [tuple(rows[0]) for rows in found] == [(number, "commands") for number in range(50)]
    facade.close()


def test_a_query_that_takes_too_long_ends(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.1)
    facade = Facade(Server.parse(database))
    with pytest.raises(StoreAway, match="no answer in time"):
        facade.query("SELECT pg_sleep(600)")
    assert facade.query("SELECT 1")[0][0] == 1
    facade.close()


def test_a_wrong_query_and_a_wrong_server_are_errors_of_the_store(database: str) -> None:
    facade = Facade(Server.parse(database))
    with pytest.raises(StoreError, match="refused a statement"):
        facade.query("SELECT nothing")
    facade.close()
    stranger = Facade(Server.parse(database.replace("postgres@", "stranger@")))
    with pytest.raises(StoreError):
        stranger.query("SELECT 1")
    stranger.close()
