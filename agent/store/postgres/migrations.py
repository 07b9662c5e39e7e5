"""The numbered migrations of the database. Each is one script, which the server runs in one transaction.

Several agents may migrate at once. A lock lets one do it at a time. The first statement of a script fails if another
agent ran the script before. The functions belong to the version of the last migration, so a change of them needs a new
one.
"""

from pathlib import Path

from agent.core.errors import StoreDamaged, StoreNewer

from .driver import Connection, Pool, asyncpg
from .errors import store_error

NAMES = ("0001_initial",)
_HERE = Path(__file__).parent
_LOCK = "SELECT pg_advisory_xact_lock(4707182901351009619);"  # any number that no other program uses
_TABLE = "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
# Another agent may have created the first table a moment ago.
_OTHERS = """
SELECT count(*) > 0 AND NOT bool_or(relname = 'migrations') FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
"""


async def migrate(pool: Pool, where: str = "") -> None:
    """Migrate the database to this version. Without a pending migration, it needs no privilege to create anything.

    Raises StoreNewer for a database of a newer version, and StoreDamaged for that of another program.
    """
    async with pool.acquire() as connection:
        try:
            known = await applied(connection)
            if known is None:
                if await connection.fetchval(_OTHERS):
                    raise StoreDamaged(
                        f"The database {where} has tables of another program.",
                        "give the agent a database of its own, or a schema of its own in the search_path of its user",
                    )
                await connection.execute(_LOCK + _TABLE)
            for name in NAMES:
                if name not in (known or ()):
                    await _apply(connection, name)
        except asyncpg.PostgresError as error:
            raise store_error(where, error) from None


async def applied(connection: Connection) -> set[str] | None:
    """The names of the applied migrations; None without a table of them. Raises StoreNewer for an unknown one."""
    if await connection.fetchval("SELECT to_regclass('migrations') IS NULL"):
        return None
    names = {row[0] for row in await connection.fetch("SELECT name FROM migrations")}
    if newer := names - set(NAMES):
        raise StoreNewer(
            f"The database was written by a newer version of the agent (migration {min(newer)}).",
            "install that version or a later one",
        )
    return names


async def _apply(connection: Connection, name: str) -> None:
    functions = [file.read_text() for file in sorted((_HERE / "functions").glob("*.sql"))]
    schema = (_HERE / "schema" / f"{name}.sql").read_text()
    begun = f"INSERT INTO migrations (name) VALUES ('{name}');"  # noqa: S608 - constant
    try:
        await connection.execute("\n".join((_LOCK, begun, schema, *functions)))
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "migrations":
            raise
