"""`doctor` and `version` with a database: a real server, its mistakes, and roles that may see less."""

import asyncio
import socket
import uuid
from typing import Any

import pytest

from agent.cli.checks import files
from agent.platform.settings import load_settings
from agent.store.identity_key import Keys
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.versions import NAMES, NUMBER
from tests.cli.command_runner import CommandResult, Here
from tests.store.postgres.support import content
from tests.support.database_place import Place, place, server
from tests.support.postgres_server import PostgresServer
from verification.builders.request_files import write

__all__ = ["place", "server"]

DATABASE_CHECKS = {
    "database", "database version", "database TLS", "database clock", "database connections", "stop timer",
    "database role", "database encoding", "durability", "standbys", "snapshots", "vacuum", "idle transactions",
}  # fmt: skip


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
    assert "several replicas need one shared volume" in found["source, replicas"]["message"]
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
    assert (found["update"]["state"], found["store"]["message"]) == ("warning", "the schema is current")
    place.execute("UPDATE migrations SET functions = '{}' WHERE name < '9999'")
    said, found = doctor(here, place.url())
    assert (said.code, "newer version" in found["store"]["message"]) == (1, True)
    place.execute("DROP TABLE migrations")
    said, found = doctor(here, place.url())
    assert (said.code, found["store"]["message"]) == (1, "the database has tables of another program")


def test_an_older_schema_is_migrated_at_the_next_start(place: Place, here: Here) -> None:
    place.execute(f"DELETE FROM migrations WHERE name = '{NAMES[-1]}'")
    _, found = doctor(here, place.url())
    assert found["store"]["message"] == "the agent applies 1 migration at its next start"


def test_a_role_without_any_privilege_gets_all_other_checks(place: Place, here: Here) -> None:
    said, found = doctor(here, place.url("guest"))
    assert (said.code, found["database role"]["state"]) == (1, "problem")
    assert found.keys() >= DATABASE_CHECKS


@pytest.mark.parametrize(("host", "own"), [("elsewhere", False), (socket.gethostname(), True)])
def test_the_owner_of_the_database_is_named(place: Place, here: Here, host: str, own: bool) -> None:
    place.execute(
        f"SELECT * FROM join_replica_{NUMBER}('{uuid.uuid4()}', '{host}:77', 'replica', '1', 60, NULL)", role="plain"
    )
    _, found = doctor(here, place.url())
    assert f"pid 77{'' if own else ' on elsewhere'}, since 20" in found["agent"]["message"]
    assert ("belongs to the running agent" in found["port of LISTEN"]["message"]) is own
    said = here("version", STATE_URL=place.url())
    assert "no answer on this machine" in said.out
    assert "77" in here("version", "-o", "json", STATE_URL=place.url()).json["agent"]["process"]
    place.execute("UPDATE replicas SET until = clock_timestamp()")
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
            "replicas": {},
            "error": None,
        },
    )
    rows = [line.split(maxsplit=1) for line in here("version", STATE_URL=place.url()).out.splitlines()]
    assert ["PostgreSQL", server] in rows
    assert ["database", place.url()] in rows
    assert ["replicas", "none"] in rows
    away = here("version", "-o", "json", STATE_URL=place.url().replace("?host=", "?host=/nowhere"))
    assert (away.code, "cannot be reached" in away.json["store"]["error"]) == (0, True)


def test_the_settings_of_another_engine_do_not_reach_the_checks(place: Place) -> None:
    settings = load_settings(state_url=place.url(), state_dir="local")
    assert [check.name for check in files.permissions(settings)] == ["state folder", "key file"]


def test_several_replicas_are_counted_with_their_versions(place: Place, here: Here) -> None:
    for number, version in enumerate(("0.1.0", "0.1.0", "0.2.0")):
        joined = f"join_replica_{NUMBER}('{uuid.uuid4()}', 'host-{number}:7', 'replica', '{version}', 60, NULL)"
        place.execute(f"SELECT * FROM {joined}", role="plain")
    _, found = doctor(here, place.url())
    assert "pid 7 on host-0, and 2 more, since 20" in found["agent"]["message"]
    rows = [line.split(maxsplit=1) for line in here("version", STATE_URL=place.url()).out.splitlines()]
    assert ["replicas", "0.1.0 (2), 0.2.0 (1)"] in rows
    place.execute("DELETE FROM replicas")
