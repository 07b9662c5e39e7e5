"""The numbered migrations of the database. Each is one script, which the server runs in one transaction.

Several agents may migrate at once. A lock lets one do it at a time. The first statement of a script fails if another
agent ran the script before. The last script also defines the functions of its version, next to those of earlier ones
(`versions.py`). It drops the functions of versions that can no longer use the database.
"""

from agent.core.errors import StoreDamaged, StoreError, StoreNewer

from .driver import Connection, Pool, asyncpg
from .errors import store_error
from .versions import MIGRATIONS, NAMES, NUMBER, Migration, function_definitions, function_names

_LOCK = "SELECT pg_advisory_xact_lock(4707182901351009619);"  # any number that no other program uses
# `functions`: those of this version that are in the database. Without any, its agents cannot use the database.
_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY,
    functions text[] NOT NULL DEFAULT '{}',
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""
# Another agent may have created the first table a moment ago.
_OTHERS = """
SELECT count(*) > 0 AND NOT bool_or(relname = 'migrations') FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
"""
_DROP_OLDER = """
DO $$
DECLARE
    one text;
BEGIN
    FOR one IN SELECT unnest(functions) FROM migrations WHERE name < '{oldest}' LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %I', one);
    END LOOP;
    UPDATE migrations SET functions = '{{}}' WHERE name < '{oldest}';
END $$;
"""


async def migrate(pool: Pool, where: str = "") -> None:
    """Migrate the database to this version."""
    async with pool.acquire() as connection:
        await migrate_by(connection, where)


async def migrate_by(connection: Connection, where: str, upgrade: bool = True) -> None:
    """Migrate the database to this version. Without a pending migration, it needs no privilege to create anything.

    A repetition after a lost answer changes nothing. Raises StoreNewer for a database of a newer version, and
    StoreDamaged for that of another program. Without `upgrade`, raises StoreError for that of an older version.
    """
    try:
        known = await applied(connection)
        if known is None:
            if await connection.fetchval(_OTHERS):
                raise StoreDamaged(
                    f"The database {where} has tables of another program.",
                    "give the agent a database of its own, or a schema of its own in the search_path of its user",
                )
            await connection.execute(_LOCK + _TABLE)
        pending = [one for one in MIGRATIONS if one.name not in (known or ())]
        if pending and known and not upgrade:
            raise StoreError(
                f"The database {where} belongs to an older version of the agent (migration {max(known)}).",
                "use that version for this command, or start a replica of the new one",
            )
        for one in pending:
            await _apply(connection, one)
    except asyncpg.PostgresError as error:
        raise store_error(where, error) from None


async def applied(connection: Connection) -> set[str] | None:
    """The names of the applied migrations; None without a table of them.

    They may be newer than those of this version. Raises StoreNewer if this version can no longer use the database.
    """
    if await connection.fetchval("SELECT to_regclass('migrations') IS NULL"):
        return None
    functions = dict(await connection.fetch("SELECT name, functions FROM migrations"))
    if (newer := functions.keys() - set(NAMES)) and not functions.get(NAMES[-1]):
        raise StoreNewer(
            f"The database was written by a newer version of the agent (migration {max(newer)}).",
            "install that version or a later one",
        )
    return set(functions)


async def _apply(connection: Connection, one: Migration) -> None:
    script = [_LOCK, f"INSERT INTO migrations (name) VALUES ('{one.name}');", one.script]  # noqa: S608 - constant
    if one.name == NAMES[-1]:
        names = ", ".join(f"'{name}_{NUMBER}'" for name in function_names())
        script += [
            function_definitions(),
            f"UPDATE migrations SET functions = ARRAY[{names}] WHERE name = '{one.name}';",  # noqa: S608 - constant
            _DROP_OLDER.format(oldest=one.oldest),
        ]
    try:
        await connection.execute("\n".join(script))
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "migrations":
            raise
