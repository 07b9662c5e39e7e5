"""The removal of the old rows of erased data from the tables."""

from .driver import Connection

_TABLES = ("requests", "labels", "provenance", "commands", "claims", "links", "superseded_images")
# Without the privilege, the server would skip the table with a warning. The owner of the database has it as well.
_FORBIDDEN = """
SELECT relname FROM pg_class, pg_database
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY ($1) AND datname = current_database()
    AND NOT (pg_has_role(relowner, 'USAGE') OR pg_has_role(datdba, 'USAGE') OR CASE
        WHEN current_setting('server_version_num')::int < 170000 THEN false
        ELSE has_table_privilege(pg_class.oid, 'MAINTAIN')
    END)
"""


async def vacuum(connection: Connection) -> bool:
    """Remove the old rows. False: the role of the agent may not. Raises errors of the driver."""
    if await connection.fetch(_FORBIDDEN, list(_TABLES)):
        return False
    for table in _TABLES:
        await connection.execute(f"VACUUM {table}")
    return True
