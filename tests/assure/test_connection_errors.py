"""The exact cause of a call without an answer (issue 14.2), with real sockets, in messages and metrics."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Busy, Trouble
from agent.platform.endpoint_health import EndpointCause, trouble_of

from .test_token import JumpingClock


def server_context(folder: Path, valid: timedelta) -> ssl.SSLContext:
    """The TLS context of a server with an untrusted certificate, valid since ten days ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begun = datetime.now(UTC) - timedelta(days=10)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begun)
        .not_valid_after(begun + valid)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    pem += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[str]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


async def _cause(config: Config, clock: JumpingClock, token_url: str) -> tuple[str, EndpointCause, str]:
    async with AssureClient(replace(config, token_url=token_url), clock) as client:
        answer = await client.authenticate()
    assert isinstance(answer, Busy), "it certainly was not sent"
    assert answer.evidence.trouble is Trouble.CONNECT
    trouble = trouble_of(answer)
    assert trouble is not None
    return answer.evidence.cause, trouble.cause, trouble.sentence


async def test_a_port_where_nothing_listens_is_a_refused_connection(config: Config, clock: JumpingClock) -> None:
    part, cause, _ = await _cause(config, clock, f"http://127.0.0.1:{closed_port()}/token")
    assert (part, cause) == ("refused", EndpointCause.REFUSED)


async def test_an_unknown_host_is_reported_as_dns(config: Config, clock: JumpingClock) -> None:
    part, cause, _ = await _cause(config, clock, "http://nonexistent.invalid/token")
    assert (part, cause) == ("dns", EndpointCause.DNS)


async def test_https_to_a_port_that_speaks_http_is_reported_as_tls(config: Config, clock: JumpingClock) -> None:
    async def http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as plain:
        url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
        part, cause, sentence = await _cause(config, clock, url + "/token")
    assert part == "tls-wrong-version-number"
    assert cause is EndpointCause.TLS
    assert "TLS fails (wrong-version-number)" in sentence


@pytest.mark.parametrize(
    ("valid", "reason"),
    [(timedelta(days=20), "self-signed"), (timedelta(days=5), "has-expired|self-signed")],
)
async def test_a_certificate_that_is_not_trusted_is_named_with_its_reason(
    config: Config, clock: JumpingClock, tmp_path: Path, valid: timedelta, reason: str
) -> None:
    async with tls_server(server_context(tmp_path, valid)) as url:
        part, cause, sentence = await _cause(config, clock, url + "/token")
    assert cause in (EndpointCause.TLS_UNTRUSTED, EndpointCause.TLS_VALIDITY)
    assert any(one in part for one in reason.split("|"))
    assert part.removeprefix("tls-") in sentence
