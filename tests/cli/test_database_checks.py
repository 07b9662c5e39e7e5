"""Each check of the database, with the facts of a real server."""

import asyncio
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.cli.checks import State, database, database_role, database_upkeep, files
from agent.platform.store_url import DatabaseUrl
from agent.store.postgres import server_facts
from agent.store.postgres.connect import Server
from agent.store.postgres.server_facts import ServerFacts, read_facts
from tests.support.database_place import Place, place, server
from tests.support.timeouts import eventually
from verification.postgres_server import PostgresServer, binaries

__all__ = ["place", "server"]


def test_the_privileges_of_each_role(place: Place) -> None:
    assert database_role.privileges(place.facts("postgres")).state is State.WARNING
    tables = sorted(table.name for table in place.facts().tables)
    written = [name for name in tables if name != "migrations"]
    for granted, refused in (("UPDATE", tables), ("SELECT", written), ("INSERT", [])):
        place.execute(f"GRANT {granted} ON ALL TABLES IN SCHEMA public TO reader")
        assert [table.name for table in place.facts("reader").tables if not table.usable] == refused
    place.execute("REVOKE UPDATE ON ALL TABLES IN SCHEMA public FROM reader")
    found = database_role.privileges(place.facts("reader"))
    assert (found.state, found.message) == (State.PROBLEM, "reader may not read and write meta, replicas, requests")
    place.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO reader")
    facts = place.facts("reader")
    found = database_role.privileges(facts)
    assert (found.state, f"reader may not VACUUM {written[0]}, " in found.message) == (State.WARNING, True)
    assert "make reader the owner" in database_role.privileges(replace(facts, major=16)).hint
    if facts.major >= 17:
        place.execute("GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO reader")
        assert database_role.privileges(place.facts("reader")).state is State.OK
    assert database_role.privileges(place.facts()).state is State.OK


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
    if not (programs / "pg_receivewal").exists():
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
