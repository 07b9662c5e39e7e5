"""The account of a state file, in the table `meta`."""

from agent.ports import MetaKey
from agent.store.sqlite.connection import Connection


def account_of(connection: Connection) -> str | None:
    """The account of the file; None before the first start."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.ACCOUNT,)).fetchone()
    return None if row is None else str(row[0])
