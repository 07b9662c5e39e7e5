"""The queries of auditors have the same answers on both engines, and no query reads a secret or writes [I6, I7]."""

import secrets
from dataclasses import replace
from typing import Any

import pytest

from agent.core.errors import AgentError
from agent.core.observations import DocumentChanged
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.ports import Command
from agent.store import audit_queries
from agent.store.audit.query_library import CLOSED, OPEN, SHIPPED, library
from agent.store.postgres.audit_queries import PostgresQueries, auditor_role
from agent.store.postgres.connect import Server
from agent.store.postgres.dialect import with_names
from tests.store.engines import Engine
from tests.store.support import committed
from tests.store.test_step_writer import LABELS, happens
from tests.support.postgres_server import PostgresServer
from verification.builders import lives
from verification.builders.lives import LINK, Life
from verification.builders.records import BACK, FRONT, NOW, ORIGIN, capture, sealed, upload

VIEWS = ("requests_now", "history", "generations", "phases", "holds", "dossiers", "calls", "billed_starts")
VIEWS += ("possible_orphans", "operator_commands")


def everything(monkeypatch: pytest.MonkeyPatch) -> list[Life]:
    """Requests with every kind of row, at times that are no whole milliseconds."""
    monkeypatch.setattr(lives, "DEFAULT_POLICY", Policy(discard_images=True))
    document = upload(labels=LABELS, origin=ORIGIN, file="f", images=(FRONT,), commit="c1" * 20, dirty=True)
    edited = upload(essence="two", labels=(("team", "blue"),), origin=ORIGIN, file="f", images=(BACK,), rerun="again")
    doubtful, removed = Life("u1", document, at=NOW + 0.1234), Life("u5", document)
    while doubtful.record.intent is None:
        doubtful.goes_on()
    happens(doubtful, "unanswered")
    doubtful.steps[-1].orphan = "aa-a1-u1-1-1"
    doubtful.steps[-1].record = replace(doubtful.record, reserved_at=NOW)
    happens(removed, "removed")
    linked = Life("u2", capture(labels=(("team", 'a\tb \\u0000 "quoted" ü €'),)), at=NOW + 0.99962).until(Phase.RESULT)
    unlinked = Life("u6", capture(retention=60.0, dirty=False, commit="c2" * 20)).until(Phase.DONE)
    again = Life("u3", document, at=NOW + 0.5005).until(Phase.DONE)
    again.sees(DocumentChanged, desired=edited)
    started = Life("u7", document, at=NOW + 7 / 3).until(Phase.RESULT)
    happens(started, "changed")
    claiming = Life("u4", document).until(Phase.DONE)
    claiming.steps[-1].encrypted_claims = sealed(NOW + 60)
    due = Life("u8", upload(retention=60.0), at=NOW - 400_000_000).until(Phase.DELETION)
    return [doubtful, removed, linked, unlinked, again, started, claiming, due]


async def written(engine: Engine, made: list[Life]) -> None:
    engine.settings.key_path.write_text("5b" * 32)
    async with engine.opened() as store:
        for life in made:
            await committed(store, life)
        for number, uid in enumerate((None, "u7", "u2")):
            command = Command(id=f"c{number}", verb="resolve", uid=uid, sender="root (uid 0)")
            await store.apply_command(command, "done", NOW + number / 7)
        for uid in ("u4", "u6"):
            await store.forget(uid, NOW + 100)
        await store.apply_command(Command(id="c9", verb="resolve", uid="u4", sender=None), "done", NOW + 200)


@pytest.fixture
async def same(both: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch) -> tuple[Engine, Engine]:
    """The same history on SQLite and on PostgreSQL."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "5a" * size)  # salts are random
    made = everything(monkeypatch)
    for engine in both:
        await written(engine, made)
    return both


async def test_every_view_has_the_same_rows_value_by_value(same: tuple[Engine, Engine]) -> None:
    empty = set()
    for view in VIEWS:
        embedded, database = [await engine.rows(f"SELECT * FROM {view}") for engine in same]
        assert sorted(database, key=repr) == sorted(embedded, key=repr), view
        assert [[type(value) for value in row] for row in sorted(database, key=repr)] == [
            [type(value) for value in row] for row in sorted(embedded, key=repr)
        ], view
        empty |= {view} if not embedded else set()
    assert empty == set()


def answers(engine: Engine, name: str, /, **given: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The columns and the rows of a named query."""
    queries = audit_queries(engine.settings)
    query = queries.library()[name]
    values = dict.fromkeys((key for key, _ in query.parameters), "") | given
    with queries.run(query.sql, values) as answer:
        return answer.columns, [tuple(row) for row in answer.rows]


@pytest.mark.parametrize("name", library(SHIPPED))
async def test_every_named_query_has_the_same_answer(same: tuple[Engine, Engine], name: str) -> None:
    given = {
        "outcomes-by-label": {"label": "team"},
        "changes-after-start": {"name": "u7"},
        "who-asked": {"since": "2027-01-15T08:00:01.5", "until": "2030"},
    }.get(name, {})
    (columns, expected), (same_columns, found) = (answers(engine, name, **given) for engine in same)
    assert same_columns == columns
    assert expected, "the history has no row for this query"
    if "overdue_seconds" in columns:  # until now
        place = columns.index("overdue_seconds")
        assert [row[place] for row in found] == [pytest.approx(row[place], abs=60) for row in expected]
        expected, found = ([row[:place] for row in rows] for rows in (expected, found))
    assert found == expected
    assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in expected]


async def test_the_named_queries_say_the_same_and_the_views_have_the_same_columns(same: tuple[Engine, Engine]) -> None:
    embedded, database = (audit_queries(engine.settings) for engine in same)
    said = {name: (q.title, q.about, q.parameters, q.kinds) for name, q in embedded.library().items()}
    assert {name: (q.title, q.about, q.parameters, q.kinds) for name, q in database.library().items()} == said
    assert database.views() == embedded.views()
    assert set(database.views()) == set(VIEWS)


# -- free SQL ------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(same: tuple[Engine, Engine]) -> Engine:
    """A database with the role of auditors, which a superuser created."""
    _, database = same
    await database.change(auditor_role(), auditor_role())  # after an upgrade, once more
    assert await database.rows("SELECT count(*) FROM links") == [(1,)]
    return database


def asked(engine: Engine, sql: str, **values: str) -> list[list[Any]]:
    with PostgresQueries(engine.settings).run(sql, values) as answer:
        return [list(row) for row in answer.rows]


async def test_free_sql_reads_open_tables_and_views(store: Engine) -> None:
    sql = "SELECT uid, seq AS uid, NULL AS n FROM history LIMIT 1; -- one"
    with PostgresQueries(store.settings).run(sql, {}) as one:
        assert one.columns == ("uid", "uid", "n")
        assert [list(row) for row in one.rows] == [["u1", 1, None]]
    assert asked(store, "SELECT 0.1::numeric, 'a' || chr(10), true, changes::json -> 'phase' FROM events LIMIT 1")
    for table in (*OPEN, *VIEWS):
        (((count,),),) = [asked(store, f"SELECT count(*) FROM {table}")]
        assert [(count,)] == await store.rows(f"SELECT count(*) FROM {table}")
    assert asked(store, "SELECT uid FROM requests WHERE uid = :name", name="u1") == [["u1"]]
    assert asked(store, "SELECT 1 WHERE false") == []


STOLEN = "ts_stat('SELECT to_tsvector(''simple'', link) FROM links')"  # a function that runs SQL
ESCAPES = (
    "SELECT * FROM links",
    "SELECT (SELECT link FROM links)",
    "WITH requests AS (SELECT * FROM links) SELECT * FROM requests",
    "SELECT * FROM requests JOIN links USING (uid)",
    "TABLE links",
    f"SELECT * FROM {STOLEN}",
    f"SELECT set_config('role', 'none', true), (SELECT word FROM {STOLEN} LIMIT 1)",
    f"SELECT set_config('role', 'postgres', false), (SELECT word FROM {STOLEN} LIMIT 1)",
    f"SELECT set_config('session_authorization', 'postgres', true), (SELECT word FROM {STOLEN} LIMIT 1)",
    "SELECT * FROM ts_stat('SET ROLE postgres')",
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT nextval(pg_get_serial_sequence('deliveries', 'id'))",
    "SELECT audit_query('TABLE links', NULL, 10)",
)


@pytest.mark.parametrize("sql", ESCAPES)
async def test_a_query_for_a_secret_is_refused(store: Engine, sql: str) -> None:
    with pytest.raises(AgentError, match=r"permission denied|cannot set parameter|cannot (open|execute)") as caught:
        asked(store, sql)
    assert LINK not in f"{caught.value} {caught.value.hint}"


async def test_a_change_of_the_role_in_a_query_would_undo_set_role(store: Engine) -> None:
    """So the function is the only way: PostgreSQL refuses a change of the role inside of it."""
    await store.change(
        "SET ROLE assure_agent_auditor",
        f"DO $$ BEGIN PERFORM set_config('role', 'none', true), (SELECT word FROM {STOLEN} LIMIT 1); END $$",
    )
    with pytest.raises(AgentError, match='cannot set parameter "role" within security-definer function'):
        asked(store, f"SELECT set_config('role', 'none', true), (SELECT word FROM {STOLEN} LIMIT 1)")


@pytest.mark.parametrize("table", sorted({*CLOSED, "replicas", "migrations"}))
async def test_a_closed_table_is_refused(store: Engine, table: str) -> None:
    with pytest.raises(AgentError, match=f"The query is refused: permission denied for table {table}"):
        asked(store, f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE requests SET outcome = 'accepted' RETURNING uid",
        "DELETE FROM events RETURNING id",
        "INSERT INTO counters VALUES ('start', '', '', '', 1) RETURNING value",
        "WITH gone AS (DELETE FROM events RETURNING id) SELECT * FROM gone",
        "SELECT set_config('transaction_read_only', 'off', true), query_to_xml('DELETE FROM events', true, true, '')",
        "CREATE TEMP TABLE mine (a int)",
        "DROP TABLE events",
        "DO $$ BEGIN RESET ROLE; DELETE FROM events; END $$",
        "COMMIT",
        "RESET ROLE",
        "BEGIN",
        "VACUUM events",
        "COPY links TO STDOUT",
        "LOCK TABLE events",
        "SELECT 1; SELECT 2",
        "SELECT * FROM requests FOR UPDATE",
        "SELEC",
        "SELECT * FROM nothing",
        "SELECT foo FROM requests",
        "SELECT 1 / 0",
        "SELECT stavalues1 FROM pg_statistic",
        "",
    ],
)
async def test_a_statement_that_is_no_query_is_refused(store: Engine, sql: str) -> None:
    before = await store.rows("SELECT count(*), sum(seq) FROM events")
    with pytest.raises(AgentError) as caught:
        asked(store, sql)
    assert caught.value.hint
    assert await store.rows("SELECT count(*), sum(seq) FROM events") == before


async def test_a_query_that_takes_too_long_or_has_too_many_rows_ends(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.store.postgres import audit_queries as module

    monkeypatch.setattr(module, "_MOST", 5)
    assert len(asked(store, "SELECT generate_series(1, 5)")) == 5
    with pytest.raises(AgentError, match="more than 5 rows"):
        asked(store, "SELECT generate_series(1, 6)")
    monkeypatch.setattr(module, "_LIMITS", "SET LOCAL statement_timeout = '50ms';")
    with pytest.raises(AgentError, match="took longer"):
        asked(store, "SELECT set_config('statement_timeout', '0', true), pg_sleep(3600)")


async def test_without_the_role_only_the_queries_of_the_agent_are_run(same: tuple[Engine, Engine]) -> None:
    _, database = same
    with pytest.raises(AgentError, match="no role that may read") as caught:
        asked(database, "SELECT 1")
    assert "audit query --roles" in (caught.value.hint or "")
    own = database.settings.state_dir / "queries"
    own.mkdir()
    (own / "holds.sql").write_text("-- Mine.\nSELECT link FROM links\n")
    with pytest.raises(AgentError, match="no role that may read"):
        answers(database, "holds")
    assert answers(database, "deletions")[1]


async def test_an_own_query_runs_as_the_auditor(store: Engine) -> None:
    own = store.settings.state_dir / "queries"
    own.mkdir()
    (own / "mine.sql").write_text("-- Mine.\n-- :name  a request\nSELECT uid FROM requests WHERE uid = :name\n")
    (own / "holds.sql").write_text("-- Mine.\nSELECT link FROM links\n")
    assert answers(store, "mine", name="u2") == (("uid",), [("u2",)])
    with pytest.raises(AgentError, match="permission denied for table links"):
        answers(store, "holds")


async def test_every_table_is_open_or_closed_for_the_role(store: Engine) -> None:
    sql = """
        SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace
        AND has_table_privilege('assure_agent_auditor', oid, 'SELECT')
    """
    assert {name for (name,) in await store.rows(sql)} == {*OPEN, *VIEWS}
    for privilege in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
        assert await store.rows(sql.replace("SELECT')", f"{privilege}')")) == []


async def test_the_login_of_an_agent_and_that_of_an_auditor_may_ask(
    same: tuple[Engine, Engine], postgres_server: PostgresServer
) -> None:
    """Neither is a superuser, and the auditor has only the role."""
    _, database = same
    url = database.settings.state_url
    name = Server.parse(url).database
    agent, auditor = (f"{kind}_{name}" for kind in ("agent", "auditor"))
    await database.change(
        f"CREATE ROLE {agent} LOGIN", f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {agent}",
        auditor_role(), f"CREATE ROLE {auditor} LOGIN IN ROLE assure_agent_auditor",
    )  # fmt: skip
    try:
        for user in (agent, auditor):
            database.configure(state_url=url.replace("postgres@", f"{user}@"))
            assert asked(database, "SELECT uid FROM requests_now WHERE uid = 'u1'") == [["u1"]]
            with pytest.raises(AgentError, match="permission denied for table links"):
                asked(database, "SELECT * FROM links")
            assert answers(database, "starts-per-day")[1]
    finally:
        for user in (agent, auditor):
            await database.change(f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def test_a_value_takes_the_place_of_its_name_alone() -> None:
    sql = "SELECT a::text, ':since' FROM b WHERE :since = c::since AND :since_then > :until"
    assert with_names(sql, ("since", "until")) == (
        'SELECT a::text, \'(($1::text[])[1] COLLATE "C")\' FROM b WHERE (($1::text[])[1] COLLATE "C") = c::since '
        'AND :since_then > (($1::text[])[2] COLLATE "C")'
    )
