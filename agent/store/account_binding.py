"""The Assure account of a store: base URL and client id, or the sandbox.

Results of the sandbox never become results of an account. A store that was used with the sandbox is refused for
every account, also with `--rebind`. Its certificates and exports say SIMULATED.
"""

from agent.core.errors import StoreForeign

SANDBOX = "the built-in sandbox"  # the account of `run --sandbox`
SIMULATED = "SIMULATED: every answer is from the sandbox, none from Signicat Assure."  # in certificates and exports
_STANDALONE_SANDBOX = "sandbox-client at http://"  # of `assure-agent sandbox` with its default client id


def simulated(account: str | None) -> bool:
    """True for the account of the built-in sandbox."""
    return account == SANDBOX


def may_bind(bound: str | None, account: str, used: bool, rebind: bool) -> bool:
    """True if the store must be bound to this account; False if it already is.

    `bound` is its account, `used`: it has called Assure. Before the first call, any account may take the store.
    `rebind` moves it from another account, but never from or to the sandbox. Raises StoreForeign if it belongs to
    another account.
    """
    if bound is not None and bound != account and SANDBOX in (bound, account):
        raise _mixed(bound, account)
    if bound is not None and bound.startswith(_STANDALONE_SANDBOX) and " at https://" in account:
        raise _mixed(bound, account)
    if bound is None or not used or rebind:
        return True
    if bound != account:
        raise StoreForeign(
            f"The store belongs to another Assure account ({bound}), not to {account}.",
            "set STATE_URL to a store of its own for this account, or take this one along with `run --rebind`",
        )
    return False


def _mixed(bound: str, account: str) -> StoreForeign:
    if account == SANDBOX:
        return StoreForeign(
            f"The store belongs to an Assure account ({bound}); the sandbox never uses it.",
            "leave STATE_URL out: the sandbox has a state file of its own, state/sandbox/agent.db",
        )
    return StoreForeign(
        f"The store holds simulated outcomes ({bound}); it never becomes the one of {account}.",
        "set STATE_URL to a store of its own for this account",
    )
