"""A restore drill with a database: an older copy comes back, and the agent bills nothing twice.

The backups are those of the server: a dump, and a base backup with an archive of the write-ahead log.
"""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.acceptance.databases import (
    ask,
    at,
    execute,
    program,
    reading,
    records,
    recoveries,
    until,
    use,
)
from tests.acceptance.installed_command import NEVER, Office
from tests.acceptance.test_disaster_recovery import starts
from tests.support.postgres_server import PostgresServer, folder_of_server, postgres_server, start
from tests.support.timeouts import eventually
from verification import postgres_server as servers

__all__ = ["postgres_server"]

pytestmark = pytest.mark.state_file  # and then on databases of its own


def work_until_the_backup(office: Office, meanwhile: Callable[[], object] = lambda: None) -> None:
    """One request is done, and another one waits for its result. `meanwhile` is called while the agent runs."""
    office.upload("done")
    assert office.run("run", "--once") == 0, office.output
    office.settings["POLL_INTERVAL"] = NEVER
    office.upload("late")
    with office.running():
        until(office, lambda items: "late" in items and items["late"].phase == "result")
        meanwhile()


def work_after_the_backup(office: Office, finished: bool) -> None:
    """Another request is started at Assure, and finished or not. The agent is killed."""
    if finished:
        del office.settings["POLL_INTERVAL"]
    office.upload("since")
    with office.running() as process:
        phase = "done" if finished else "result"
        until(office, lambda items: "since" in items and {item.phase for item in items.values()} == {"done", phase})
        process.send_signal(signal.SIGKILL)
        process.wait()
    office.settings.pop("POLL_INTERVAL", None)


def the_agent_finds_the_older_store(office: Office) -> None:
    """[I5] The database has lost the request `since`. The files of STATE_DIR prove it, before any call."""
    assert set(records(office)) == {"done", "late"}
    with reading(office) as store:
        assert store.rollback() == "older"


def all_is_well(office: Office, starts_of_requests: int) -> None:
    """[I1] [I2] [I3] Each request was started once, and Assure keeps no dossier."""
    assert sorted(starts(office).values()) == [1] * starts_of_requests
    assert office.left_behind() == []
    assert recoveries(office) == [("older", True, True)]


@pytest.mark.sandbox(delay="100ms")
def test_a_dump_that_is_restored_into_a_new_database(office: Office, postgres_server: PostgresServer) -> None:
    """`pg_dump` with the agent stopped, later lives, and a restore with the same STATE_DIR."""
    names = [f"{kind}_{os.getpid()}" for kind in ("first", "second")]
    asyncio.run(postgres_server.execute(*(f"CREATE DATABASE {name}" for name in names)))
    use(office, postgres_server.url(names[0]))
    work_until_the_backup(office)
    dump = execute(program(postgres_server, "pg_dump"), *at(postgres_server), "--format=custom", names[0])
    work_after_the_backup(office, finished=True)
    pg_restore = program(postgres_server, "pg_restore")
    execute(pg_restore, *at(postgres_server), "--exit-on-error", "--dbname", names[1], stdin=dump)
    use(office, postgres_server.url(names[1]))
    the_agent_finds_the_older_store(office)
    with office.running():
        until(office, lambda items: "since" in items and items["since"].state == "held")
        until(office, lambda items: items["late"].state == "done")
        assert {item["name"]: item["reason"] for item in office.json("get")["items"]}["since"] == "history-lost"
        assert office.run("resolve", "since", "abandon") == 0, office.output
        office.upload("new")
        office.source.publish()
        until(office, lambda items: "new" in items and items["new"].state == "held")
        assert sorted(starts(office).values()) == [1, 1, 1]
        assert office.run("approve", "--yes") == 0, office.output
        until(office, lambda items: items["new"].state == "done")
    outcomes = {name: str(record.outcome) for name, record in records(office).items()}
    assert outcomes == {"done": "accepted", "late": "lost", "since": "abandoned", "new": "accepted"}
    all_is_well(office, starts_of_requests=4)
    asyncio.run(postgres_server.execute(*(f"DROP DATABASE {name} WITH (FORCE)" for name in names)))


@pytest.mark.sandbox(delay="100ms")
def test_a_server_that_is_restored_to_an_earlier_time(office: Office) -> None:
    """A base backup while the agent runs, an archive of the write-ahead log, and `recovery_target_lsn`."""
    with folder_of_server() as archive, folder_of_server() as restored:
        archiving = (f"archive_command=cp %p {archive}/%f", "archive_mode=on", "listen_addresses=")
        server = start(os.getpid(), "wal_level=replica", *archiving)
        pg_basebackup = program(server, "pg_basebackup")
        try:
            ask(server, "CREATE DATABASE agent")
            use(office, server.url("agent"))
            backup = ("-D", restored / "data", "--checkpoint=fast", "--wal-method=none")
            work_until_the_backup(office, lambda: execute(pg_basebackup, *at(server), *backup))
            target = ask(server, "SELECT pg_current_wal_lsn()::text")
            work_after_the_backup(office, finished=False)
            assert "since" in records(office)
            last = ask(server, "SELECT pg_walfile_name(pg_switch_wal())")
            eventually(lambda: (archive / last).exists(), lambda: f"{last} is not archived: {list(archive.iterdir())}")
        finally:
            server.stop()
        execute("touch", restored / "data" / "recovery.signal")
        recovery = (
            f"restore_command=cp {archive}/%f %p",
            f"recovery_target_lsn={target}",
            "recovery_target_action=promote",
            "listen_addresses=",
        )
        again = servers.start(restored, os.getpid(), recovery, programs=pg_basebackup.parent, kept=True)
        try:
            use(office, again.url("agent"))
            the_agent_finds_the_older_store(office)
            office.upload("new")
            with office.running():
                until(office, lambda items: len(items) == 4 and items["new"].state == "held")
                until(office, lambda items: all(items[name].state == "done" for name in ("done", "late", "since")))
                assert sorted(starts(office).values()) == [1, 1, 1]
                assert office.run("approve", "--yes") == 0, office.output
                until(office, lambda items: items["new"].state == "done")
            assert {str(record.outcome) for record in records(office).values()} == {"accepted"}
            all_is_well(office, starts_of_requests=4)
        finally:
            again.stop()
