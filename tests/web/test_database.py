"""The API and the status page on a database: the same answers as on a state file, and 503 while it is away."""

import asyncio
from collections.abc import Iterator

import pytest

from agent.core.record import Phase
from agent.web import list_page
from tests.support.module_databases import databases, name_of
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.web.live_server import NASTY, Served, request, served, some
from verification.builders.lives import Life

__all__ = ["postgres_server"]

FILTERS = (
    "",
    "phase=done",
    "outcome=accepted",
    "reason=refused-by-assure",
    "label=team%3Donboarding",
    "label=team%3Donboarding&phase=result",
    "phase=nonsense",
)
SEARCHES = (
    *FILTERS,
    "state=held",
    "label=team%3Donboarding&phase=result&state=waiting",
    "q=customer",
    "q=customer-1&outcome=accepted",
    "q=%25",
)
PATHS = (
    *(f"/api/requests?limit=2&{query}" for query in FILTERS),
    "/api/requests/with-a-link",
    "/api/requests/nobody",
    "/api/requests?cursor=%00",
    *(f"/?{query}" for query in SEARCHES),
    "/refused",
    "/requests/nobody",
)


def lives() -> list[Life]:
    """Some of each state, and several pages of one."""
    return some() + [request(f"waits-{number}", Phase.RESULT) for number in range(20)]


@pytest.fixture(scope="module", autouse=True)
def short_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_page, "PAGE_SIZE", 8)
        yield


@pytest.fixture(scope="module")
def on_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("file"), lives()) as found:
        yield found


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with databases(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def on_database(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("database"), lives(), database=database) as found:
        yield found


def test_every_answer_is_that_of_a_state_file(on_file: Served, on_database: Served) -> None:
    paths = [*PATHS, *(f"/requests/{on_file.uids[name]}" for name in ("customer-1", "with-a-link", "is-held", NASTY))]
    for path in paths:
        expected, found = on_file.see(path), on_database.see(path)
        assert (found.status_code, found.text) == (expected.status_code, expected.text), path
        assert found.status_code < 500, path


@pytest.mark.parametrize("query", ["", "&phase=result", "&label=team%3Donboarding"])
def test_the_pages_of_a_list_follow_each_other(on_file: Served, on_database: Served, query: str) -> None:
    names: list[list[str]] = []
    for served_ in (on_file, on_database):
        names.append([])
        cursor: str | None = ""
        while cursor is not None:
            answer = served_.see(f"/api/requests?limit=7{query}{cursor and f'&cursor={cursor}'}").json()
            names[-1] += [item["name"] for item in answer["items"]]
            cursor = answer["cursor"]
    assert names[0] == names[1]
    assert len(names[0]) == len({*names[0]}) > 3


def test_each_page_of_a_state_leads_to_the_next(on_file: Served, on_database: Served) -> None:
    path, pages = "/?state=waiting", 0
    while path:
        expected, found = on_file.see(path), on_database.see(path)
        assert (found.status_code, found.text) == (200, expected.text), path
        pages += 1
        path = found.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&").lstrip(".")
    assert pages > 2


def test_while_the_database_is_away_it_is_503_and_then_it_works_again(
    on_database: Served, postgres_server: PostgresServer, database: str
) -> None:
    name = name_of(database)
    asyncio.run(
        postgres_server.execute(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'",
        )
    )
    try:
        assert [on_database.see(path).status_code for path in ("/api/requests", "/")] == [503, 503]
    finally:
        asyncio.run(postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    assert [on_database.see(path).status_code for path in ("/api/requests", "/")] == [200, 200]


def test_requests_need_two_connections(on_database: Served, postgres_server: PostgresServer, database: str) -> None:
    for _ in range(5):
        assert on_database.see("/").status_code == 200
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert asyncio.run(postgres_server.execute(sql, database=name_of(database)))[0][0] <= 2
