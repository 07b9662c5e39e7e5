"""The facts about a server that `assure-agent doctor` checks. A role without special privileges can read each of them.

A setting that the server hides from this role is missing in `settings`. Hidden sessions are counted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.errors import StoreNewer
from agent.store.read_results import RunningAgent

from .connect import Server, open_pool
from .driver import Connection
from .errors import translated
from .migrations import applied
from .ownership import OWNER, agent_named

_ROUNDS = 5  # answers that the latency is measured with
_LONGEST = 10.0  # seconds of a query
_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)"
_NAMES = (
    "autovacuum", "data_directory", "fsync", "idle_in_transaction_session_timeout", "max_connections",
    "reserved_connections", "server_encoding", "server_version", "superuser_reserved_connections", "synchronous_commit",
    "synchronous_standby_names", "track_counts",
)  # fmt: skip
_ROLE = """
SELECT rolname AS name, rolsuper AS superuser,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates
FROM pg_roles WHERE rolname = current_user
"""
_TLS = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
# Tables of the schema, with what the role may do. Only a migration writes to `migrations`.
_TABLES = """
SELECT relname AS name,
    pg_has_role(relowner, 'USAGE') OR CASE
        WHEN relname = 'migrations' THEN true
        WHEN current_setting('server_version_num')::int < 170000 THEN false  -- only the owner may VACUUM there
        ELSE has_table_privilege(oid, 'MAINTAIN')
    END AS vacuums,
    EXISTS (
        SELECT FROM pg_options_to_table(reloptions)
        WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean
    ) AS unvacuumed,
    has_table_privilege(oid, 'SELECT')
    AND (relname = 'migrations' OR has_table_privilege(oid, 'INSERT'))
    AND (relname NOT IN ('replicas', 'meta', 'requests') OR has_table_privilege(oid, 'UPDATE')) AS usable
FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace ORDER BY relname
"""
_DEAD_ROWS = """
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
WHERE schemaname = current_schema() ORDER BY n_dead_tup DESC
"""
_SNAPSHOTS = """
SELECT 'session ' || pid || ' (' || state || ')' AS name,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT 'prepared transaction ' || gid, extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts WHERE database = current_database()
ORDER BY seconds DESC
"""
_HIDDEN_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state IS NULL AND query = '<insufficient privilege>'
"""
# A subscriber of logical replication is not a standby. The state of a standby may be hidden.
_STANDBYS = """
SELECT count(*) FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming'
AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL)
"""
_CONNECTIONS = "SELECT sum(numbackends)::bigint FROM pg_stat_database"
_TABLESPACES = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the agent's schema, as this role may use it."""

    name: str
    usable: bool
    vacuums: bool  # the role may VACUUM it, which removes the old rows of erased data
    unvacuumed: bool  # autovacuum is off for it
    live: int  # rows
    dead: int  # old versions of rows, until a vacuum


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The facts, read one after the other."""

    version: str
    major: int
    latency: float  # seconds of the fastest answer
    ahead: float  # seconds by which the clock of the server is ahead of this machine
    tls: str | None  # the version of TLS at the server
    pooled: bool  # a pooler answers for the server
    settings: dict[str, str]  # without those that this role may not see
    role: str
    superuser: bool
    creates_tables: bool
    tables: tuple[Table, ...]
    migrations: frozenset[str] | None  # None: there are none, or the role may not read them
    newer: StoreNewer | None
    foreign: bool  # there are tables, and no table of migrations
    snapshots: tuple[tuple[str, float], ...]  # the holder and the seconds, the oldest first
    hidden_sessions: int
    standbys: int
    connections: int  # of all databases of the server
    folders: tuple[str, ...]  # of the tables of the server, as far as this role may see them
    owner: RunningAgent | None


async def read_facts(server: Server) -> ServerFacts:
    """Read the facts. Raises StoreError if the server cannot be used."""
    pool = await open_pool(server, 1)
    try:
        with translated(str(server)):
            async with pool.acquire() as connection:
                return await _read(connection)
    finally:
        pool.terminate()


async def _read(connection: Connection) -> ServerFacts:
    async def rows(sql: str, *values: Any) -> Sequence[Any]:
        found: Sequence[Any] = await connection.fetch(sql, *values, timeout=_LONGEST)
        return found

    latency, ahead = await _compare_clocks(connection)
    settings = dict(await rows(_SETTINGS, list(_NAMES)))
    (role,) = await rows(_ROLE)
    tables = _tables(await rows(_TABLES), await rows(_DEAD_ROWS))
    usable = {table.name: table.usable for table in tables}
    migrations, newer = await _migrations(connection) if usable.get("migrations", True) else (None, None)
    spaces = [row[0] for row in await rows(_TABLESPACES)]
    return ServerFacts(
        version=settings["server_version"].split()[0],
        major=connection.get_server_version().major,
        latency=latency,
        ahead=ahead,
        tls=next((row[0] for row in await rows(_TLS)), None),
        pooled=connection.get_server_pid() != (await rows("SELECT pg_backend_pid()"))[0][0],  # a pooler makes one up
        settings=settings,
        role=role["name"],
        superuser=role["superuser"],
        creates_tables=role["creates"],
        tables=tables,
        migrations=migrations,
        newer=newer,
        foreign=bool(tables) and "migrations" not in usable,
        snapshots=tuple((row[0], row[1]) for row in await rows(_SNAPSHOTS)),
        hidden_sessions=(await rows(_HIDDEN_SESSIONS))[0][0],
        standbys=(await rows(_STANDBYS))[0][0],
        connections=(await rows(_CONNECTIONS))[0][0],
        folders=tuple(one for one in (settings.get("data_directory"), *spaces) if one),
        owner=next((agent_named(*row) for row in await rows(OWNER)), None) if usable.get("replicas") else None,
    )


async def _compare_clocks(connection: Connection) -> tuple[float, float]:
    """The seconds of the fastest answer, and how far the server's clock is ahead, by that answer."""
    fastest = (float("inf"), 0.0)
    for _ in range(_ROUNDS):
        asked, begin = time.time(), time.perf_counter()
        theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8", timeout=_LONGEST)
        seconds = time.perf_counter() - begin
        fastest = min(fastest, (seconds, theirs - asked - seconds / 2))
    return fastest


async def _migrations(connection: Connection) -> tuple[frozenset[str] | None, StoreNewer | None]:
    try:
        names = await applied(connection)
    except StoreNewer as newer:
        return None, newer
    return None if names is None else frozenset(names), None


def _tables(tables: Sequence[Any], counts: Sequence[Any]) -> tuple[Table, ...]:
    rows = {row["name"]: (row["live"], row["dead"]) for row in counts}
    return tuple(
        Table(
            name=row["name"],
            usable=row["usable"],
            vacuums=row["vacuums"],
            unvacuumed=row["unvacuumed"],
            live=rows.get(row["name"], (0, 0))[0],
            dead=rows.get(row["name"], (0, 0))[1],
        )
        for row in tables
    )
