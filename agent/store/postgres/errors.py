"""Errors of the server and of connections, as the operator reads them."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

from agent.core.errors import StoreAway, StoreError

from .driver import asyncpg

MOVED = "AA001"  # the SQLSTATE of a group commit that found another row than it expected
_ISOLATION = "AA003"  # of a group commit in a transaction that is not READ COMMITTED


_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also for a session that the server ended while it was idle
    OSError,
    EOFError,
)
_DRIVER = (asyncpg.PostgresError, *_LOST)
# A value that the driver cannot send is a ValueError. A missing certificate does not appear by waiting.
_NEVER = (ValueError, ssl.SSLCertVerificationError, asyncpg.TargetServerAttributeNotMatched)
# The server ends, crashed, starts, has too many connections, became a standby, cancelled the statement, or did not get
# a lock in time.
_LATER = ("57P01", "57P02", "57P03", "53300", "25006", "57014", "55P03")


def is_away(error: BaseException) -> bool:
    """True if the connection broke, or the server cannot answer now: it may have done what it was asked to do."""
    if isinstance(error, _NEVER) or is_closed(error):
        return False
    return isinstance(error, (StoreAway, *_LOST)) or sqlstate(error) in _LATER


def is_closed(error: BaseException) -> bool:
    """True if this process closed its connections."""
    return isinstance(error, asyncpg.InterfaceError) and "pool is clos" in str(error)


def is_repeatable(error: BaseException) -> bool:
    """True for a statement that the server undid because of another transaction."""
    return sqlstate(error) in ("40001", "40P01")


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error that the server sent."""
    return getattr(error, "sqlstate", None)


def store_error(where: str, error: Exception) -> Exception:
    """Translate an error of the server or of a connection; any other stays as it is.

    `where` names the database without its credentials.
    """
    if not isinstance(error, _DRIVER):
        return error
    for kinds, message, hint in _SENTENCES:
        if isinstance(error, kinds):
            kind = StoreAway if is_away(error) else StoreError
            return kind(f"{message.format(where=where)}: {_text(error)}.", hint)
    if sqlstate(error) == _ISOLATION:
        return StoreError(
            f"The role of the database {where} has another isolation than the agent needs: {_text(error)}.",
            "run `ALTER ROLE ... SET default_transaction_isolation = 'read committed'`",
        )
    if is_away(error):
        return StoreAway(
            f"The database {where} cannot be reached: {_text(error)}.",
            "start the server, and check the host and the port in STATE_URL; the agent continues when it answers",
        )
    return StoreError(
        f"The database {where} refused a statement: {_text(error)}.",
        "read the log of the server; see `assure-agent doctor`",
    )


@contextlib.contextmanager
def translated(where: str) -> Iterator[None]:
    """Translate the errors of the block into StoreError."""
    try:
        yield
    except _DRIVER as error:
        raise store_error(where, error) from None


_SENTENCES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "The database {where} refused the credentials",
        "check the user in STATE_URL, the password in STATE_PASSWORD_FILE, and pg_hba.conf",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "The server of {where} has no such database",
        "create the database, or correct the last part of STATE_URL",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "The user of {where} may not do this",
        "run `assure-agent store migrate --grant ROLE` as the owner of the tables, also after an upgrade",
    ),
    (
        asyncpg.UndefinedTableError,
        "The tables of {where} are missing",
        "start this version of the agent once: it creates them",
    ),
    (
        asyncpg.UndefinedFunctionError,
        "A newer version of the agent has replaced the functions of {where}",
        "install that version or a later one",
    ),
    (
        (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError),
        "The database {where} cancelled a statement",
        "remove statement_timeout and lock_timeout from the role of the agent, or see who cancels its statements",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "The server of {where} has no free connection",
        "end other sessions, or raise max_connections",
    ),
    (
        asyncpg.TargetServerAttributeNotMatched,
        "No server of {where} accepts writes",
        "name the primary server in STATE_URL, or promote a standby",
    ),
    (
        ssl.SSLCertVerificationError,
        "The certificate of {where} cannot be trusted",
        "set `sslrootcert` in STATE_URL to the file of its authority, and use a host name of the certificate",
    ),
    (
        (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError),
        "A pooler in front of {where} lost a prepared statement",
        "add `statement_cache_size=0` to STATE_URL, or set max_prepared_statements of PgBouncer 1.21 or later",
    ),
)


def _text(error: BaseException) -> str:
    """One line without detail: a detail may quote a row."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "a standby, or default_transaction_read_only"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown host"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValueError) or (sqlstate(error) or "").startswith("22"):  # the message quotes the value
        return type(error).__name__
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):  # its message is for programmers
        return "the connection has ended"
    if "rejected SSL upgrade" in str(error):
        return "it has no TLS (`ssl = on` in postgresql.conf)"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
