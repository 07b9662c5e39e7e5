"""A company's network: its proxy in a process of its own, its authority, and a server behind TLS.

Hosts below `.test` are known to the proxy only: each is this machine.
"""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme

from tests.assure.http.conftest import serving
from tests.support.timeouts import eventually

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def company_proxy(folder: Path, credentials: str = "") -> Iterator[str]:
    """Yields HOST:PORT. `credentials` are user:password."""
    port_file, errors = folder / "port", folder / "errors"
    arguments = ["--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file), "--num-acceptors", "1"]
    arguments += ["--num-workers", "1", "--data-dir", str(folder), "--log-level", "CRITICAL"]
    arguments += ["--plugins", "tests.support.company_proxy_plugin.Names"]
    arguments += ["--basic-auth", credentials] if credentials else []
    environment = os.environ | {"HOME": str(folder)}  # proxy.py makes a folder there
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "proxy", *arguments], cwd=ROOT, env=environment, stdout=stderr, stderr=stderr
        ) as running,
    ):
        try:
            eventually(lambda: running.poll() is not None or (port_file.exists() and port_file.read_text().strip()))
            assert running.poll() is None, errors.read_text()
            yield f"127.0.0.1:{port_file.read_text().strip()}"
        finally:
            running.terminate()


@dataclass
class Company:
    """An authority in `ca_file`, and a client certificate with its key in `client_file`."""

    folder: Path
    authority: trustme.CA = field(default_factory=lambda: trustme.CA(organization_name="Example Company"))

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.ca_file, self.client_file = self.folder / "ca.pem", self.folder / "client.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        client = self.authority.issue_cert(common_name="agent")
        client.private_key_and_cert_chain_pem.write_to_path(self.client_file)
        self.client_file.chmod(0o600)

    def server(
        self, *hosts: str, asks: bool = False, begins: datetime | None = None, ends: datetime | None = None
    ) -> ssl.SSLContext:
        """The context of a server with a certificate. `asks`: it requires one of its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*hosts, not_before=begins, not_after=ends).configure_cert(context)
        if asks:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@contextlib.asynccontextmanager
async def terminating(tls: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """A server that ends TLS in front of `port` on this machine. Yields its port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        both = [asyncio.ensure_future(_copy(reader, far_writer)), asyncio.ensure_future(_copy(far_reader, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            far_writer.transport.abort()

    async with serving(carry, ssl=tls) as at:
        yield at


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()


def settings_of(proxy: str, company: Company, **more: Any) -> dict[str, Any]:
    """The settings of an agent behind the proxy, with its user and password."""
    return {"proxy_url": f"http://agent:pass%20word@{proxy}", "ca_file": company.ca_file, **more}
