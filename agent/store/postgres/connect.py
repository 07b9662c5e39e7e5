"""Connections to the server: a pool of few, with TLS, and with limits on how long a dead connection goes unnoticed.

Nothing is read from the environment, from ~/.pgpass or from a service file: STATE_URL alone says what is used.
"""

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.errors import StoreError
from agent.platform.settings import Settings
from agent.platform.store_url import DatabaseUrl
from agent.platform.trusted_files import read_trusted

from .driver import Connection, Pool, asyncpg
from .errors import translated

_OLDEST = 15  # the oldest version of PostgreSQL
_CONNECT = 10.0  # seconds until an attempt to connect fails
_DEAD = 10_000  # milliseconds until a connection without an answer of the other kernel ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database, as STATE_URL names it."""

    hosts: tuple[str, ...]  # names, addresses, or folders with a Unix socket
    ports: tuple[int, ...]  # of each host
    user: str
    database: str
    tls: ssl.SSLContext | None
    password_file: Path | None
    statement_cache_size: int  # prepared statements for each connection; 0 for PgBouncer before 1.21

    @classmethod
    def parse(cls, url: str, password_file: Path | None = None) -> "Server":
        """Read STATE_URL, as `DatabaseUrl` describes it. Raises StoreError if a file of TLS cannot be read."""
        named = DatabaseUrl.parse(url)
        return cls(
            hosts=named.hosts,
            ports=named.ports,
            user=named.user,
            database=named.database,
            tls=_tls(named.files) if named.tls else None,
            password_file=password_file,
            statement_cache_size=named.statement_cache_size,
        )

    @classmethod
    def of(cls, settings: Settings) -> "Server":
        """The database of STATE_URL. Raises StoreError if a file of TLS cannot be read."""
        return cls.parse(settings.state_url, settings.state_password_file)

    def __str__(self) -> str:
        places = ",".join(f"{host}:{port}" for host, port in zip(self.hosts, self.ports, strict=True))
        return f"{self.database} at {places}"

    def password(self) -> str:
        """The password, as the file has it now: it may be rotated while the agent runs."""
        if self.password_file is None:
            return ""
        try:
            return read_trusted(self.password_file, secret=True).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"The password file {self.password_file} cannot be read: {getattr(error, 'strerror', 'not UTF-8')}.",
                "correct STATE_PASSWORD_FILE, or the owner and the mode of the file",
            ) from None


async def open_pool(server: Server, connections: int = 5) -> Pool:
    """Open a pool. Raises StoreError in plain words if the server cannot be used."""
    with translated(str(server)):
        pool = await asyncpg.create_pool(
            host=list(server.hosts),
            port=list(server.ports),
            user=server.user,
            database=server.database,
            password=server.password,
            ssl=server.tls or False,
            target_session_attrs="read-write",
            timeout=_CONNECT,
            statement_cache_size=server.statement_cache_size,
            server_settings={"application_name": "assure-agent"},
            connection_class=_kept_alive(),
            reset=_keep,
            min_size=0,  # the driver would log the traceback of each failed attempt to restore more
            max_size=connections,
        )
        async with pool.acquire() as connection:
            found = connection.get_server_version()
    if found.major < _OLDEST:
        await pool.close()
        raise StoreError(
            f"The server of {server} is PostgreSQL {found.major}, and the agent needs {_OLDEST} or later.",
            "upgrade the server",
        )
    return pool


async def _keep(_: Connection) -> None:
    """A connection has no state between two statements, so nothing has to be reset."""


def _kept_alive() -> type:
    """The class of connections that end soon when the other side is gone: by default, Linux waits 15 minutes."""

    class KeptAlive(asyncpg.Connection):  # type: ignore[misc]
        __slots__ = ()

        def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
            super().__init__(protocol, transport, *others)
            limit_silence(transport.get_extra_info("socket"))

    return KeptAlive


def limit_silence(connected: Any) -> None:
    """Set the limits of this socket. A Unix socket needs none."""
    if connected is None or connected.family == socket.AF_UNIX:
        return
    with socket.socket(fileno=os.dup(connected.fileno())) as same:  # a socket of uvloop has no setsockopt
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", _DEAD)):
            if (option := getattr(socket, name, None)) is not None:
                same.setsockopt(socket.IPPROTO_TCP, option, value)


def _tls(files: dict[str, str]) -> ssl.SSLContext:
    try:
        return _context(files)
    except OSError as error:
        reason = (
            "not a certificate or a key without a passphrase, in PEM"
            if isinstance(error, ssl.SSLError)
            else error.strerror
        )
        raise StoreError(
            f"A file of TLS cannot be used ({', '.join(files.values())}): {reason}.", "correct the files in STATE_URL"
        ) from None


def _context(files: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.get("sslrootcert"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if "sslcert" in files:
        # OpenSSL would ask the terminal for the passphrase of a key
        context.load_cert_chain(files["sslcert"], files.get("sslkey"), password=lambda: "-")
    return context
