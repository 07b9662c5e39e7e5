"""`doctor` and `version` with a database: a real server, its mistakes, and roles that may see less."""

import asyncio
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from agent.cli.checks import State, database, database_role, database_upkeep, files
from agent.platform.settings import load_settings
from agent.platform.store_url import DatabaseUrl
from agent.store.identity_key import Keys
from agent.store.postgres import server_facts
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.migrations import NAMES, migrate
from agent.store.postgres.server_facts import ServerFacts, read_facts
from tests.cli.command_runner import CommandResult, Here
from tests.store.postgres.support import content
from tests.support.postgres_server import PostgresServer, binaries, start
from tests.support.timeouts import eventually
from verification.builders.request_files import write

HBA = "local all postgres,plain,reader,guest trust\nlocal replication postgres trust\nlocal all all scram-sha-256\n"
ROLES = ("plain", "reader", "guest", "locked")
DATABASE_CHECKS = {
    "database", "database version", "database TLS", "database clock", "database connections", "database role",
    "database encoding", "durability", "standbys", "snapshots", "vacuum", "idle transactions",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of its own, whose settings a test may change, with a database of the role `plain`."""
    started = start(os.getpid(), "listen_addresses=", "max_prepared_transactions=2", hba=HBA)
    try:
        roles = [f"CREATE ROLE {role} LOGIN PASSWORD 'right'" for role in ROLES]
        asyncio.run(started.execute(*roles, "CREATE DATABASE migrated OWNER plain"))
        asyncio.run(create_tables(started.url("migrated").replace("postgres@", "plain@")))
        yield started
    finally:
        started.stop()


async def create_tables(url: str) -> None:
    pool = await open_pool(Server.parse(url))
    await migrate(pool)
    await pool.close()


class Place:
    """A database of a test."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name = server, name

    def url(self, role: str = "plain") -> str:
        return self.server.url(self.name).replace("postgres@", f"{role}@")

    def execute(self, *statements: str, role: str = "postgres") -> list[Any]:
        """Execute these, each in a transaction of its own. Returns the rows of the last one."""

        async def work() -> list[Any]:
            connection = await self.connect(role)
            rows: list[Any] = []
            for statement in statements:
                rows = await connection.fetch(statement)
            await connection.close()
            return rows

        return asyncio.run(work())

    async def connect(self, role: str) -> Any:
        return await asyncpg.connect(
            host=self.server.folder, port=self.server.port, user=role, database=self.name, statement_cache_size=0
        )

    def facts(self, role: str = "plain") -> ServerFacts:
        return asyncio.run(read_facts(Server.parse(self.url(role))))

    def change(self, setting: str, value: str) -> None:
        """Change a setting of the server, and wait for it."""
        before = self.execute("SELECT pg_conf_load_time()")[0][0]
        self.execute(f"ALTER SYSTEM SET {setting} = {value}", "SELECT pg_reload_conf()")
        eventually(
            lambda: self.execute("SELECT pg_conf_load_time()")[0][0] > before, lambda: "the server read no settings"
        )


@pytest.fixture
def place(server: PostgresServer) -> Iterator[Place]:
    """A new database with the tables."""
    name = f"t_{uuid.uuid4().hex}"
    asyncio.run(server.execute(f"CREATE DATABASE {name} TEMPLATE migrated OWNER plain"))
    place = Place(server, name)
    yield place
    place.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    asyncio.run(server.execute(f"DROP DATABASE {name} WITH (FORCE)"))


def doctor(here: Here, url: str, **env: str) -> tuple[CommandResult, dict[str, dict[str, Any]]]:
    said = here("doctor", "--offline", "-o", "json", STATE_URL=url, **env)
    assert "Traceback" not in said.err
    found = {check["check"]: check for check in said.json["checks"]}
    for check in found.values():
        assert check["state"] == "ok" or check["hint"], check
    return said, found


def test_a_plain_role_sees_that_all_is_well_and_changes_nothing(place: Place, here: Here) -> None:
    async def rows() -> dict[str, Any]:
        pool = await open_pool(Server.parse(place.url()))
        found = await content(pool)
        await pool.close()
        return found

    before = asyncio.run(rows())
    said, found = doctor(here, place.url())
    assert said.code == 0, said
    assert found.keys() >= DATABASE_CHECKS | {"store", "key", "account", "agent", "source", "state folder, kept"}
    assert {found[name]["state"] for name in DATABASE_CHECKS} == {"ok"}
    assert not found.keys() & {
        "sqlite",
        "state file",
        "replaced state files",
        "pooler",
        "claims keys",
        "claims keys, place",
    }
    assert found["agent"]["message"] == "no agent is running on the store"
    assert asyncio.run(rows()) == before
    assert not (here.folder / "state").exists()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (("plain@", "locked@"), "refused the credentials"),
        (("/migrated", "/missing"), "has no such database"),
        (("?host=", "?host=/nowhere"), "cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_failed_check(
    server: PostgresServer, here: Here, change: tuple[str, str], cause: str
) -> None:
    write(here.folder / "password", "hunter2").chmod(0o600)
    url = Place(server, "migrated").url().replace(*change)
    said, found = doctor(here, url, STATE_PASSWORD_FILE="password")
    failed = [name for name, check in found.items() if check["state"] == "problem"]
    assert (said.code, failed) == (1, ["database"])
    assert cause in found["database"]["message"]
    assert found.keys() >= {"state folder", "key file", "source", "time zone", "port of LISTEN", "images"}
    assert "hunter2" not in said.out + said.err


def test_a_password_file_that_others_can_change_is_one_failed_check(place: Place, here: Here) -> None:
    write(here.folder / "password", "right").chmod(0o600)
    said, found = doctor(here, place.url("locked"), STATE_PASSWORD_FILE="password")
    assert (said.code, found["database role"]["state"]) == (1, "problem")  # it may log in, and do nothing
    (here.folder / "password").chmod(0o666)
    said, found = doctor(here, place.url("locked"), STATE_PASSWORD_FILE="password")
    assert (said.code, "other users can change it" in found["database"]["message"]) == (1, True)
    assert "time zone" in found
    assert "right" not in said.out


def test_an_empty_database_in_place_of_an_earlier_one_is_a_warning(place: Place, here: Here) -> None:
    place.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public AUTHORIZATION plain")
    (here.folder / "state").mkdir(mode=0o700)
    Keys.load_or_create(here.folder / "state/agent")
    said, found = doctor(here, place.url())
    assert (said.code, found["recovery"]["state"]) == (0, "warning")
    assert "STATE_URL" in found["recovery"]["hint"]


def test_a_database_without_tables_is_ready_if_the_role_may_create_them(place: Place, here: Here) -> None:
    place.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public AUTHORIZATION plain")
    said, found = doctor(here, place.url())
    assert (said.code, found["store"]["message"]) == (0, "the database has no tables yet; the agent creates them")
    place.execute("ALTER SCHEMA public OWNER TO postgres")
    said, found = doctor(here, place.url())
    assert (said.code, found["database role"]["message"]) == (1, "plain may not create tables in this database")


def test_tables_of_another_program_or_of_a_newer_version_are_a_problem(place: Place, here: Here) -> None:
    place.execute("INSERT INTO migrations (name) VALUES ('9999_later')")
    said, found = doctor(here, place.url())
    assert (said.code, "newer version" in found["store"]["message"]) == (1, True)
    place.execute("DROP TABLE migrations")
    said, found = doctor(here, place.url())
    assert (said.code, found["store"]["message"]) == (1, "the database has tables of another program")


def test_an_older_schema_is_migrated_at_the_next_start(place: Place, here: Here) -> None:
    place.execute(f"DELETE FROM migrations WHERE name = '{NAMES[-1]}'")
    _, found = doctor(here, place.url())
    assert found["store"]["message"] == "the agent applies 1 migration at its next start"


def test_the_privileges_of_each_role(place: Place) -> None:
    assert database_role.privileges(place.facts("postgres")).state is State.WARNING
    tables = sorted(table.name for table in place.facts().tables)
    written = [name for name in tables if name != "migrations"]
    for granted, refused in (("UPDATE", tables), ("SELECT", written), ("INSERT", [])):
        place.execute(f"GRANT {granted} ON ALL TABLES IN SCHEMA public TO reader")
        assert [table.name for table in place.facts("reader").tables if not table.usable] == refused
    place.execute("REVOKE UPDATE ON ALL TABLES IN SCHEMA public FROM reader")
    found = database_role.privileges(place.facts("reader"))
    assert (found.state, found.message) == (State.PROBLEM, "reader may not read and write agents, meta, requests")
    place.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO reader")
    facts = place.facts("reader")
    found = database_role.privileges(facts)
    assert (found.state, f"reader may not VACUUM {written[0]}, " in found.message) == (State.WARNING, True)
    assert "make reader the owner" in database_role.privileges(replace(facts, major=16)).hint
    if facts.major >= 17:
        place.execute("GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO reader")
        assert database_role.privileges(place.facts("reader")).state is State.OK
    assert database_role.privileges(place.facts()).state is State.OK


def test_a_role_without_any_privilege_gets_all_other_checks(place: Place, here: Here) -> None:
    said, found = doctor(here, place.url("guest"))
    assert (said.code, found["database role"]["state"]) == (1, "problem")
    assert found.keys() >= DATABASE_CHECKS


def test_an_encoding_that_cannot_store_all_names_is_a_problem(server: PostgresServer) -> None:
    asyncio.run(server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 OWNER plain"))
    found = database_role.encoding(Place(server, "latin").facts())
    assert (found.state, "LATIN1" in found.message) == (State.PROBLEM, True)


def test_settings_of_the_server_that_lose_or_keep_data(place: Place) -> None:
    assert {check.state for check in database_upkeep.checks(place.facts())} == {State.OK}
    place.change("synchronous_standby_names", "'one'")
    assert "no standby is connected" in database_upkeep.standbys(place.facts()).message
    place.change("autovacuum", "off")
    assert "autovacuum is off" in database_upkeep.vacuum(place.facts()).message
    place.change("idle_in_transaction_session_timeout", "'90s'")
    assert database_upkeep.idle_transactions(place.facts()).message == "the server ends them after 1m30s"
    place.change("fsync", "off")
    assert database_upkeep.durability(place.facts()).state is State.PROBLEM
    place.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", "ALTER ROLE plain SET synchronous_commit = off")
    try:
        eventually(lambda: place.facts().settings["fsync"] == "on", lambda: "fsync stays off")
        found = database_upkeep.durability(place.facts())
        assert (found.state, "synchronous_commit is off for this role" in found.message) == (State.OK, True)
    finally:
        place.execute("ALTER ROLE plain RESET synchronous_commit")


def test_a_standby_that_is_not_synchronous_is_a_warning_for_a_plain_role(place: Place, folder: Path) -> None:
    programs = binaries()
    if programs is None or not (programs / "pg_receivewal").exists():
        pytest.skip("this package of PostgreSQL has no pg_receivewal")
    command = [programs / "pg_receivewal", "-h", place.server.folder, "-U", "postgres", "-D", folder, "--no-loop"]
    receiver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: place.facts("postgres").standbys == 1, lambda: "no standby is connected")
        found = database_upkeep.standbys(place.facts())
        assert (found.state, "1 connected, none synchronous" in found.message) == (State.WARNING, True)
    finally:
        receiver.terminate()
        receiver.wait()


def test_an_old_transaction_is_named_and_a_hidden_one_is_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_upkeep, "_OLD_SNAPSHOT", 0.0)

    async def work() -> tuple[ServerFacts, ServerFacts, int]:
        others, own = await place.connect("reader"), await place.connect("plain")
        server = Server.parse(place.url())
        await others.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await others.execute("SELECT count(*) FROM pg_class")
        hidden = await read_facts(server)
        await own.execute("BEGIN")
        seen = await read_facts(server)
        pid = own.get_server_pid()
        await others.close()
        await own.close()
        return hidden, seen, pid

    hidden, seen, pid = asyncio.run(work())
    found = database_upkeep.snapshots(hidden)
    assert (found.state, found.message.endswith("1 session not visible to this role")) == (State.OK, True)
    found = database_upkeep.snapshots(seen)
    assert (found.state, f"session {pid} (idle in transaction)" in found.message) == (State.WARNING, True)


def test_a_prepared_transaction_keeps_old_rows_as_well(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_upkeep, "_OLD_SNAPSHOT", 0.0)

    async def prepare() -> None:
        connection = await place.connect("plain")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO meta (key, value) VALUES ('x', 'y')")
        await connection.execute("PREPARE TRANSACTION 'left behind'")
        await connection.close()

    asyncio.run(prepare())
    found = database_upkeep.snapshots(place.facts())
    assert (found.state, "prepared transaction left behind" in found.message) == (State.WARNING, True)
    place.execute("ROLLBACK PREPARED 'left behind'", role="plain")


def test_dead_rows_and_tables_without_autovacuum(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.execute("ALTER TABLE attempts SET (autovacuum_enabled = off)")
    found = database_upkeep.vacuum(place.facts())
    assert (found.state, "autovacuum is off for attempts" in found.message) == (State.WARNING, True)
    place.execute("ALTER TABLE attempts RESET (autovacuum_enabled)")
    place.execute(
        "INSERT INTO receipts (digest, at) SELECT n::text, 1 FROM generate_series(1, 9) AS n",
        "DELETE FROM receipts",
        "SELECT pg_stat_force_next_flush()",
    )
    assert database_upkeep.vacuum(place.facts()).state is State.OK
    monkeypatch.setattr(database_upkeep, "_MANY_DEAD_ROWS", 8)
    found = database_upkeep.vacuum(place.facts())
    assert (found.state, found.message) == (State.WARNING, "receipts has 9 dead rows and 0 live rows")


@pytest.mark.parametrize(("host", "own"), [("elsewhere", False), (socket.gethostname(), True)])
def test_the_owner_of_the_database_is_named(place: Place, here: Here, host: str, own: bool) -> None:
    place.execute(f"SELECT * FROM join_agent('{uuid.uuid4()}', '{host}:77', 60)", role="plain")
    _, found = doctor(here, place.url())
    assert f"pid 77 on {host}, since 20" in found["agent"]["message"]
    assert ("belongs to the running agent" in found["port of LISTEN"]["message"]) is own
    said = here("version", STATE_URL=place.url())
    assert "does not answer on this machine" in said.out
    assert "77" in here("version", "-o", "json", STATE_URL=place.url()).json["agent"]["process"]
    place.execute("UPDATE agents SET until = clock_timestamp()")
    _, found = doctor(here, place.url())
    assert found["agent"]["message"] == "no agent is running on the store"


def test_the_key_file_is_compared_with_the_database(place: Place, here: Here) -> None:
    for folder in ("state", "other"):
        (here.folder / folder).mkdir(mode=0o700)
    keys = Keys.load_or_create(here.folder / "state/agent")
    place.execute(f"INSERT INTO meta (key, value) VALUES ('key', '{keys.fingerprint}')")
    _, found = doctor(here, place.url())
    assert found["key"]["message"] == "the database was written with the key in state/agent.key"
    Keys.load_or_create(here.folder / "other/agent")
    said, found = doctor(here, place.url(), KEY_FILE="other/agent.key")
    assert (said.code, "another key than other/agent.key" in found["key"]["message"]) == (1, True)
    assert keys.fingerprint not in said.out
    said, found = doctor(here, place.url(), STATE_DIR="empty")
    assert (said.code, "empty/agent.key is missing" in found["key"]["message"]) == (1, True)
    (here.folder / "other/agent.key").chmod(0o666)
    said, found = doctor(here, place.url(), KEY_FILE="other/agent.key")
    assert (said.code, "other users can change it" in found["store"]["message"]) == (1, True)


def test_the_keys_of_claims_are_outside_of_the_database(place: Place, here: Here) -> None:
    claims = {"CLAIMS_KEY": "c" * 44}
    said, found = doctor(here, place.url(), **claims)
    assert (said.code, "KEYS_DIR is not" in found["claims keys, place"]["message"]) == (1, True)
    inside = f"{place.server.folder}/data/keys"
    _, found = doctor(here, place.url("postgres"), KEYS_DIR=inside, **claims)
    assert (
        found["claims keys, place"]["state"],
        "a folder of the database" in found["claims keys, place"]["message"],
    ) == (
        "problem",
        True,
    )
    _, found = doctor(here, place.url("postgres"), KEYS_DIR="days", **claims)
    assert found["claims keys, place"]["message"] == "days is outside of the folders of the database"
    _, found = doctor(here, place.url(), KEYS_DIR=inside, **claims)
    assert "not visible to this role" in found["claims keys, place"]["message"]


def test_facts_that_a_test_cannot_make_real(place: Place) -> None:
    facts = place.facts()
    assert database.latency(replace(facts, latency=0.021)).state is State.WARNING
    assert "21.0 ms" in database.latency(replace(facts, latency=0.021)).message
    assert database.version(replace(facts, major=19, version="19.1")).hint
    assert not database.version(facts).hint
    for seconds, side in ((5.5, "5.5 s ahead of"), (-6.0, "6.0 s behind")):
        assert side in database.clock(replace(facts, ahead=seconds)).message
    assert database.clock(replace(facts, ahead=4.5)).state is State.OK
    found = database.connections(replace(facts, connections=90))
    assert (found.state, found.message.startswith("7 of 100 are free")) == (State.WARNING, True)
    assert [database.connections(replace(facts, connections=number)).state for number in (89, 200)] == [
        State.OK,
        State.WARNING,
    ]


def test_the_clock_of_this_machine_is_compared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SimpleNamespace(time=lambda: time.time() - 10, perf_counter=time.perf_counter)
    monkeypatch.setattr(server_facts, "time", slow)
    assert "10.0 s ahead of" in database.clock(place.facts()).message


def test_tls_and_a_pooler(place: Place) -> None:
    facts, remote = place.facts(), "postgresql://me@db.example/db"
    assert "no TLS" in database.tls(DatabaseUrl.parse(place.url()), facts).message
    assert database.tls(DatabaseUrl.parse(remote), facts).state is State.WARNING
    assert "verify-full, TLSv1.3" in database.tls(DatabaseUrl.parse(remote), replace(facts, tls="TLSv1.3")).message
    assert "statement_cache_size=0" in database.pooler(DatabaseUrl.parse(remote)).hint
    assert not database.pooler(DatabaseUrl.parse(f"{remote}?statement_cache_size=0")).hint


def test_a_state_folder_that_a_restart_empties_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files._type_of_file_system(Path("/proc")) == "proc"
    for kind, state in (("tmpfs", State.WARNING), ("overlay", State.WARNING), ("ext4", State.OK), (None, State.OK)):
        monkeypatch.setattr(files, "_type_of_file_system", lambda _, kind=kind: kind)
        assert files.file_system(folder).state is state


def test_the_version_names_the_place_the_schema_and_the_server(place: Place, here: Here) -> None:
    said = here("version", "-o", "json", STATE_URL=place.url())
    server = place.execute("SHOW server_version")[0][0].split()[0]
    assert (said.code, said.json["store"]) == (
        0,
        {
            "file": None,
            "database": place.url(),
            "schema": NAMES[-1],
            "server": server,
            "error": None,
        },
    )
    rows = [line.split(maxsplit=1) for line in here("version", STATE_URL=place.url()).out.splitlines()]
    assert ["PostgreSQL", server] in rows
    assert ["database", place.url()] in rows
    away = here("version", "-o", "json", STATE_URL=place.url().replace("?host=", "?host=/nowhere"))
    assert (away.code, "cannot be reached" in away.json["store"]["error"]) == (0, True)


def test_the_settings_of_another_engine_do_not_reach_the_checks(place: Place) -> None:
    settings = load_settings(state_url=place.url(), state_dir="local")
    assert [check.name for check in files.permissions(settings)] == ["state folder", "key file"]
