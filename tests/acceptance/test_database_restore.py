"""A restore drill with a database: an older copy comes back, and the agent bills nothing twice.

The backups are those of the server: a dump, and a base backup with an archive of the write-ahead log.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.acceptance.databases import folder_of_server, program, records, recoveries, until, use
from tests.acceptance.installed_command import NEVER, Office
from tests.acceptance.test_disaster_recovery import starts
from tests.support.postgres_server import PostgresServer, postgres_server, start
from tests.support.timeouts import eventually
from verification import postgres_server as servers

__all__ = ["postgres_server"]


def ask(server: PostgresServer, sql: str, database: str = "postgres") -> Any:
    """The first value of a query of the superuser."""

    async def asked() -> Any:
        connection = await asyncpg.connect(host=server.folder, port=server.port, user="postgres", database=database)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(asked())


def of_server(server: PostgresServer) -> tuple[str, ...]:
    """The options with which a program of the server finds it."""
    return ("-h", server.folder, "-p", str(server.port), "-U", "postgres")


def work_until_the_backup(office: Office, meanwhile: Callable[[], object] = lambda: None) -> None:
    """One request is done, and another one waits for its result. `meanwhile` is called while the agent runs."""
    office.upload("done")
    assert office.run("run", "--once") == 0, office.output
    office.settings["POLL_INTERVAL"] = NEVER
    office.upload("late")
    with office.running():
        until(office, lambda items: "late" in items and items["late"].phase == "result")
        meanwhile()


def work_after_the_backup(office: Office) -> None:
    """Another request is started at Assure, and the agent is killed."""
    office.upload("since")
    with office.running() as process:
        until(office, lambda items: "since" in items and items["since"].phase == "result")
        process.send_signal(signal.SIGKILL)
        process.wait()


def the_agent_recovers(office: Office) -> None:
    """[I1] [I2] [I3] [I5] On the older database it starts nothing new until `approve`, and nothing twice."""
    assert set(records(office)) == {"done", "late"}
    del office.settings["POLL_INTERVAL"]
    office.upload("new")
    with office.running():
        until(office, lambda items: len(items) == 4)
        until(office, lambda items: all(items[name].state == "done" for name in ("done", "late", "since")))
        until(office, lambda items: items["new"].state == "held")
        assert {item["reason"] for item in office.json("get")["items"] if item["name"] == "new"} == {"history-lost"}
        assert sorted(starts(office).values()) == [1, 1, 1]
        assert office.run("approve", "--yes") == 0, office.output
        until(office, lambda items: items["new"].state == "done")
    assert {str(record.outcome) for record in records(office).values()} == {"accepted"}
    assert sorted(starts(office).values()) == [1, 1, 1, 1]
    assert office.left_behind() == []
    assert recoveries(office) == [("older", True, True)]


@pytest.mark.sandbox(delay="100ms")
def test_a_dump_that_is_restored_into_a_new_database(office: Office, postgres_server: PostgresServer) -> None:
    """`pg_dump` with the agent stopped, later lives, and a restore with the same STATE_DIR."""
    names = [f"{kind}_{os.getpid()}" for kind in ("first", "second")]
    asyncio.run(postgres_server.execute(*(f"CREATE DATABASE {name}" for name in names)))
    use(office, postgres_server.url(names[0]))
    work_until_the_backup(office)
    dump = program("pg_dump", *of_server(postgres_server), "--format=custom", names[0])
    work_after_the_backup(office)
    program("pg_restore", *of_server(postgres_server), "--exit-on-error", "--dbname", names[1], stdin=dump)
    use(office, postgres_server.url(names[1]))
    the_agent_recovers(office)
    asyncio.run(postgres_server.execute(*(f"DROP DATABASE {name} WITH (FORCE)" for name in names)))


@pytest.mark.sandbox(delay="100ms")
def test_a_server_that_is_restored_to_an_earlier_time(office: Office) -> None:
    """A base backup while the agent runs, an archive of the write-ahead log, and `recovery_target_lsn`."""
    with folder_of_server() as archive, folder_of_server() as restored:
        archiving = (f"archive_command=cp %p {archive}/%f", "archive_mode=on", "listen_addresses=")
        server = start(os.getpid(), "wal_level=replica", *archiving)
        try:
            ask(server, "CREATE DATABASE agent")
            use(office, server.url("agent"))
            backup = ("-D", restored / "data", "--checkpoint=fast", "--wal-method=none")
            work_until_the_backup(office, lambda: program("pg_basebackup", *of_server(server), *backup))
            target = ask(server, "SELECT pg_current_wal_lsn()::text")
            work_after_the_backup(office)
            assert "since" in records(office)
            last = ask(server, "SELECT pg_walfile_name(pg_switch_wal())")
            eventually(lambda: (archive / last).exists(), lambda: f"{last} is not archived: {list(archive.iterdir())}")
        finally:
            server.stop()
        again = recovered(restored, archive, target)
        try:
            use(office, again.url("agent"))
            the_agent_recovers(office)
        finally:
            again.stop()


def recovered(folder: Path, archive: Path, target: str) -> PostgresServer:
    """Start a server on the base backup, which replays the archive up to this position, and accepts writes then."""
    (folder / "data" / "recovery.signal").touch()
    os.chown(folder / "data" / "recovery.signal", folder.stat().st_uid, folder.stat().st_gid)
    settings = (
        f"restore_command=cp {archive}/%f %p",
        f"recovery_target_lsn={target}",
        "recovery_target_action=promote",
        "listen_addresses=",
    )
    return servers.start(folder, os.getpid(), settings)
