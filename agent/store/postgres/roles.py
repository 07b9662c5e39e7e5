"""The two roles of a database: the owner of the tables, and the agent, which has the privileges that it uses."""

from agent.core.errors import StoreError
from agent.platform.settings import Settings

from .connect import Server, open_pool
from .errors import translated
from .migrations import applied, migrate
from .versions import NAMES

_ALL = "SELECT, INSERT, UPDATE, DELETE"
# A table that is not here gets all four. No privilege lets the agent change or delete an event.
_FEWER = {
    "events": "SELECT, INSERT",
    "recoveries": "SELECT, INSERT, UPDATE",
    "commands": "SELECT, INSERT, UPDATE (answer)",
    "starts": "SELECT, INSERT, UPDATE (process_id)",
    "attempts": "SELECT, INSERT, UPDATE",
    "reservations": "SELECT, INSERT",
    "receipts": "SELECT, INSERT, DELETE",
    "migrations": "SELECT",
}
_RELATIONS = """
SELECT relname, relkind FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'S') ORDER BY relname
"""
_MAINTAIN = 170000  # the version that lets a role VACUUM a table of another


async def migrate_as_owner(settings: Settings) -> list[str]:
    """Migrate the database. Returns the names of the migrations that were applied now."""
    server = Server.of(settings)
    pool = await open_pool(server, 1)
    try:
        with translated(str(server)):
            async with pool.acquire() as connection:
                before = await applied(connection) or set()
        await migrate(pool, str(server))
        return [name for name in NAMES if name not in before]
    finally:
        pool.terminate()


async def grant_to_agent(settings: Settings, role: str) -> None:
    """Grant a role what the agent needs, and take from it what it does not. Raises StoreError for an unknown role."""
    server = Server.of(settings)
    pool = await open_pool(server, 1)
    try:
        with translated(str(server)):
            async with pool.acquire() as connection, connection.transaction():
                whom = await connection.fetchval("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1", role)
                if whom is None:
                    raise StoreError(f"The server of {server} has no role {role!r}.", f"CREATE ROLE {role} LOGIN")
                schema = await connection.fetchval("SELECT quote_ident(current_schema())")
                modern = await connection.fetchval("SELECT current_setting('server_version_num')::int") >= _MAINTAIN
                statements = [f"GRANT USAGE ON SCHEMA {schema} TO {whom}"]
                for name, kind in await connection.fetch(_RELATIONS):
                    statements += _grants(name, kind, whom, modern)
                for statement in statements:
                    await connection.execute(statement)
    finally:
        pool.terminate()


def _grants(name: str, kind: bytes, whom: str, modern: bool) -> list[str]:
    """The statements for a table, view or sequence. Its name is one of the schema, so it needs no quotes."""
    if kind == b"S":
        return [f"GRANT USAGE, SELECT, UPDATE ON SEQUENCE {name} TO {whom}"]
    if kind == b"v":
        return [f"GRANT SELECT ON {name} TO {whom}"]
    privileges = _FEWER.get(name, _ALL) + (", MAINTAIN" if modern and name != "migrations" else "")
    return [f"REVOKE ALL ON {name} FROM {whom}", f"GRANT {privileges} ON {name} TO {whom}"]
