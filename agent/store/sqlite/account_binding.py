"""The account of a state file, in the table `meta`."""

from agent.ports import MetaKey
from agent.ports.key_value import REMEMBERED
from agent.store.account_binding import may_bind
from agent.store.sqlite.connection import Connection


def account_of(connection: Connection) -> str | None:
    """The account of the file; None before the first start."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.ACCOUNT,)).fetchone()
    return None if row is None else str(row[0])


def bind(connection: Connection, account: str, rebind: bool) -> None:
    """Bind the file to the account. Raises StoreForeign if it belongs to another account."""
    bound = account_of(connection)
    used = connection.execute("SELECT 1 FROM attempts LIMIT 1").fetchone() is not None
    if may_bind(bound, account, used, rebind):
        if bound is not None and bound != account:
            connection.execute("DELETE FROM meta WHERE key GLOB ?", (REMEMBERED + "*",))
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MetaKey.ACCOUNT, account))
