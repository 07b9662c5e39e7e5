"""A server that speaks TLS itself: whom it and the agent trust, and the sentence for each mistake."""

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from agent.core.errors import StoreError
from agent.store.postgres.connect import Server, open_pool
from tests.support.restartable_server import RestartableServer, restartable_server

HBA = """
local all postgres trust
hostssl all agent 127.0.0.1/32 scram-sha-256
hostssl all certified 127.0.0.1/32 cert
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """The server, and the files of its clients."""

    server: RestartableServer
    port: int
    files: Path

    def url(self, user: str, host: str = "localhost", **parameters: str) -> str:
        """A URL with these files."""
        given = "&".join(f"{name}={self.files / file}" for name, file in parameters.items())
        return f"postgresql://{user}@{host}:{self.port}/postgres?{given}"


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The binaries of the wheel have no TLS, so this needs those of a distribution."""
    given = [Path(os.environ["PG_BIN"])] if "PG_BIN" in os.environ else []
    installed = [*given, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if not installed:
        pytest.skip("no PostgreSQL with TLS: set PG_BIN to the folder of its programs")
    port, files, authority = free_port(), tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(files / "authority.pem")
    trustme.CA().cert_pem.write_to_path(files / "stranger.pem")
    client = authority.issue_cert(common_name="certified")
    client.private_key_pem.write_to_path(files / "client.key")
    client.cert_chain_pems[0].write_to_path(files / "client.pem")
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (files / "sealed.key").write_bytes(sealed)
    with restartable_server("listen_addresses=localhost", programs=installed[0], port=port) as server:
        if server.rows("SHOW ssl_library") == [("",)]:
            pytest.skip(f"the PostgreSQL in {installed[0]} has no TLS")
        own = authority.issue_cert("localhost")
        own.private_key_pem.write_to_path(server.data / "server.key")
        own.cert_chain_pems[0].write_to_path(server.data / "server.crt")
        shutil.copy(files / "authority.pem", server.data / "root.crt")
        (server.data / "pg_hba.conf").write_text(HBA)
        for path in server.data.glob("*.[kc][er][yt]"):
            shutil.chown(path, *((path.owner(),) if os.geteuid() else ("nobody", "nogroup")))
            path.chmod(0o600)
        server.rows(
            "ALTER SYSTEM SET ssl = on",
            "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
            "CREATE ROLE agent LOGIN PASSWORD 'secret'",
            "CREATE ROLE certified LOGIN",
            "SELECT pg_reload_conf()",
        )
        (files / "password").write_text("secret\n")
        (files / "password").chmod(0o600)
        yield Secured(server, port, files)


async def user_of(secured: Secured, url: str) -> str:
    """The user that the server sees in an encrypted session."""
    pool = await open_pool(Server.parse(url, secured.files / "password"))
    try:
        user, encrypted = await pool.fetchrow(
            "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()"
        )
        assert encrypted
        return str(user)
    finally:
        await pool.close()


async def refusal(secured: Secured, url: str) -> str:
    with pytest.raises(StoreError) as caught:
        await user_of(secured, url)
    assert caught.value.hint
    assert "secret" not in str(caught.value)
    return str(caught.value)


async def test_a_password_and_a_certificate_both_work(secured: Secured) -> None:
    assert await user_of(secured, secured.url("agent", sslrootcert="authority.pem")) == "agent"
    client = {"sslrootcert": "authority.pem", "sslcert": "client.pem", "sslkey": "client.key"}
    assert await user_of(secured, secured.url("certified", **client)) == "certified"


async def test_another_name_and_another_authority_are_refused(secured: Secured) -> None:
    other_name = await refusal(secured, secured.url("agent", "127.0.0.1", sslrootcert="authority.pem"))
    assert "cannot be trusted: IP address mismatch" in other_name
    unknown = await refusal(secured, secured.url("agent", sslrootcert="stranger.pem"))
    assert "cannot be trusted: self-signed certificate" in unknown


async def test_a_client_without_its_certificate_is_refused(secured: Secured) -> None:
    assert "refused the credentials" in await refusal(secured, secured.url("certified", sslrootcert="authority.pem"))
    unencrypted = secured.url("agent", "127.0.0.1") + "sslmode=disable"
    assert "refused the credentials" in await refusal(secured, unencrypted)


async def test_a_key_that_cannot_be_used_is_named(secured: Secured) -> None:
    """OpenSSL must not ask the terminal for a passphrase."""
    for key in ("sealed.key", "password", "missing.key"):
        client = {"sslrootcert": "authority.pem", "sslcert": "client.pem", "sslkey": key}
        assert f"{key}): " in await refusal(secured, secured.url("certified", **client))


async def test_a_server_without_tls_is_refused(secured: Secured) -> None:
    """Nothing is sent to it, also no password."""
    await asyncio.to_thread(secured.server.rows, "ALTER SYSTEM SET ssl = off", "SELECT pg_reload_conf()")
    try:
        assert "TLS" in await refusal(secured, secured.url("agent", sslrootcert="authority.pem"))
    finally:
        await asyncio.to_thread(secured.server.rows, "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
