"""The operator learns in one sentence why a database cannot be used, and no credential is shown."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from agent.core.errors import AgentError, StoreAway, StoreError
from agent.store.postgres import connect
from agent.store.postgres.connect import Server, limit_silence, open_pool
from tests.support.cutting_proxy import forwarded
from tests.support.postgres_server import PostgresServer, start

from .support import opened


async def failure(url: str, password_file: Path | None = None) -> AgentError:
    with pytest.raises(StoreError) as caught:
        await open_pool(Server.parse(url, password_file))
    assert caught.value.hint
    assert "secret" not in str(caught.value)
    return caught.value


async def test_a_missing_database_is_named(postgres_server: PostgresServer) -> None:
    assert "no such database" in str(await failure(postgres_server.url("missing")))


async def test_an_unknown_user_is_refused(database: str) -> None:
    assert "refused the credentials" in str(await failure(database.replace("postgres@", "stranger@")))


async def test_a_server_that_is_away_is_named_with_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    for url in (
        f"postgresql://me@127.0.0.1:{port}/db",
        f"postgresql://me@/db?host={tmp_path}",
        "postgresql://me@no-such-host.invalid/db?sslmode=verify-full",
    ):
        error = await failure(url)
        assert isinstance(error, StoreAway)
        assert "cannot be reached" in str(error)


async def test_an_old_server_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_OLDEST", 99)
    assert "the agent needs 99 or later" in str(await failure(database))


def test_a_connection_with_tls_checks_the_host_name() -> None:
    server = Server.parse("postgresql://me@one,two:6432/db")
    assert server.tls is not None
    assert server.tls.check_hostname
    with pytest.raises(StoreError, match=r"missing\.pem"):
        Server.parse("postgresql://me@host/db?sslrootcert=/missing.pem")


async def test_the_environment_decides_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGUSER", "other"), ("PGDATABASE", "other"), ("PGSSLMODE", "require"), ("PGPASSWORD", "x")):
        monkeypatch.setenv(name, value)
    pool = await open_pool(Server.parse(database))
    assert await pool.fetchval("SELECT current_user") == "postgres"
    await pool.close()


async def test_statements_are_not_kept_if_a_pooler_cannot_keep_them(database: str) -> None:
    async with opened(f"{database}&statement_cache_size=0") as ours:
        await ours.rows("SELECT 1")
        assert await ours.rows("SELECT name FROM pg_prepared_statements WHERE name <> ''") == []


async def test_tls_and_the_password_file(tmp_path: Path) -> None:
    """A real server with a certificate: the name and the authority must fit, and the password is read again."""
    authority, others = trustme.CA(), trustme.CA()
    roots = {name: tmp_path / f"{name}.pem" for name in ("authority", "others")}
    authority.cert_pem.write_to_path(roots["authority"])
    others.cert_pem.write_to_path(roots["others"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = start(
        os.getpid(), "fsync=off", "listen_addresses=", hba="local all postgres trust\nlocal all all scram-sha-256\n"
    )
    try:
        async with tls_before(server.socket(), context) as port:
            await with_password(server, port, roots, tmp_path / "password")
    finally:
        server.stop()


async def with_password(server: PostgresServer, port: int, roots: dict[str, Path], password: Path) -> None:
    await server.execute("CREATE ROLE agent LOGIN PASSWORD 'first'")
    password.write_text("first\n")
    password.chmod(0o600)
    good = f"postgresql://agent@localhost:{port}/postgres?sslrootcert={roots['authority']}"
    pool = await open_pool(Server.parse(good, password))
    assert await pool.fetchval("SELECT current_user") == "agent"
    await server.execute("ALTER ROLE agent PASSWORD 'second'")
    password.write_text("second")
    await pool.expire_connections()
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()
    password.write_text("secret")
    assert "refused the credentials" in str(await failure(good, password))
    assert "cannot be trusted" in str(await failure(good.replace("localhost", "127.0.0.1"), password))
    assert "cannot be trusted" in str(await failure(good.replace("authority", "others"), password))
    password.unlink()
    assert "cannot be read" in str(await failure(good, password))


@contextlib.asynccontextmanager
async def tls_before(target: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a server that answers PostgreSQL's request for TLS: the binaries of the wheel have none."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.start_tls(context)
            there, back = await asyncio.open_unix_connection(target)
            await asyncio.gather(forwarded(reader, back), forwarded(there, writer))
        writer.transport.abort()

    front = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET)
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        front.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def test_a_connection_by_tcp_notices_a_dead_server() -> None:
    """Also with uvloop, whose sockets set no options themselves."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    ours = writer.get_extra_info("socket")
    limit_silence(ours)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    writer.close()
    server.close()
