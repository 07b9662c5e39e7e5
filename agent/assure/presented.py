"""The certificate and the clock of a server that TLS does not trust. For `doctor` alone: nothing secret is sent."""

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from agent.assure.connection import Config
from agent.assure.http.connection import Connection
from agent.assure.http.dial import dial
from agent.assure.http.messages import ExchangeError, Origin, Timeouts, header_lines, request_head
from agent.core.classify import http_date

_LIMIT: Final = 64 * 1024  # bytes read of the answer
_SHOWN: Final = 100  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """The content of the certificate, unverified. Times are seconds since the epoch."""

    issuer: str
    hosts: str  # comma-separated
    begins: float
    ends: float
    server_time: float | None  # the `Date` of an answer


async def presented(url: str, config: Config) -> Presented | None:
    """Connect on the way of `config`, without verification, and ask for `/`. None: there is no certificate."""
    origin = Origin.of(url)
    timeouts = Timeouts(connect=config.connect_timeout, tls=config.connect_timeout, read=config.connect_timeout)
    loop = asyncio.get_running_loop()
    try:
        connection = await dial(
            origin,
            timeouts,
            _unverified,
            config.proxy_to(origin.host, origin.port),
            lambda peer: Connection(loop, timeouts, lambda lost: None, peer),
            loop.time() + timeouts.connect,
        )
    except ExchangeError:
        return None
    try:
        content = connection.certificate
        return _read(content, await _date(connection, origin)) if content is not None else None
    except ValueError:  # of a certificate that cannot be parsed
        return None
    finally:
        connection.close()


async def _date(connection: Connection, origin: Origin) -> float | None:
    head = request_head("GET", "/", header_lines(origin, {"User-Agent": "assure-agent"}), 0)
    try:
        return http_date((await connection.begin(head, b"", _LIMIT)).date)
    except ExchangeError:
        return None


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _read(content: bytes, server_time: float | None) -> Presented:
    found = x509.load_der_x509_certificate(content)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [str(name) for kind in (x509.DNSName, x509.IPAddress) for name in names.get_values_for_type(kind)]
    except x509.ExtensionNotFound:
        hosts = []
    return Presented(
        issuer=_plain(found.issuer.rfc4514_string()),
        hosts=_plain(", ".join(hosts)),
        begins=found.not_valid_before_utc.timestamp(),
        ends=found.not_valid_after_utc.timestamp(),
        server_time=server_time,
    )


def _plain(text: str) -> str:
    """Text of anyone on the network, which is safe on a terminal."""
    return re.sub(r"[^A-Za-z0-9 .,:=*_/@()'-]", "?", text)[:_SHOWN]
