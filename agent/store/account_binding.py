"""The Assure account of a state file: base URL and client id, or the sandbox.

Results of the sandbox never become results of an account. A state file that was used with the sandbox is refused for
every account, also with `--rebind`. Its certificates and exports say SIMULATED.
"""

from agent.core.errors import StoreForeign
from agent.ports import MetaKey
from agent.ports.key_value import REMEMBERED
from agent.store.connection import Connection

SANDBOX = "the built-in sandbox"  # the account of `run --sandbox`
SIMULATED = "SIMULATED: every answer is from the sandbox, none from Signicat Assure."  # in certificates and exports
_STANDALONE_SANDBOX = "sandbox-client at http://"  # of `assure-agent sandbox` with its default client id


def simulated(account: str | None) -> bool:
    """True for the account of the built-in sandbox."""
    return account == SANDBOX


def account_of(connection: Connection) -> str | None:
    """The account of the file; None before the first start."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.ACCOUNT,)).fetchone()
    return None if row is None else str(row[0])


def bind(connection: Connection, account: str, rebind: bool) -> None:
    """Bind the file to the account. Raises StoreForeign if it belongs to another account.

    Before the first call to Assure, any account may take the file. `rebind` moves it from another account, but never
    from or to the sandbox.
    """
    bound = account_of(connection)
    if bound is not None and bound != account and SANDBOX in (bound, account):
        raise _mixed(bound, account)
    if bound is not None and bound.startswith(_STANDALONE_SANDBOX) and " at https://" in account:
        raise _mixed(bound, account)
    used = connection.execute("SELECT 1 FROM attempts LIMIT 1").fetchone() is not None
    if bound is None or not used or rebind:
        if bound is not None and bound != account:
            connection.execute("DELETE FROM meta WHERE key GLOB ?", (REMEMBERED + "*",))
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MetaKey.ACCOUNT, account))
    elif bound != account:
        raise StoreForeign(
            f"The state file belongs to another Assure account ({bound}), not to {account}.",
            "set STATE_URL to a file of its own for this account, or take this one along with `run --rebind`",
        )


def _mixed(bound: str, account: str) -> StoreForeign:
    if account == SANDBOX:
        return StoreForeign(
            f"The state file belongs to an Assure account ({bound}); the sandbox never uses it.",
            "leave STATE_URL out: the sandbox has a state file of its own, state/sandbox/agent.db",
        )
    return StoreForeign(
        f"The state file holds simulated outcomes ({bound}); it never becomes the one of {account}.",
        "set STATE_URL to a file of its own for this account",
    )
