"""The address of the repository, the credentials for it, and the limits of a fetch."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.platform.proxy import Proxy, is_direct
from agent.platform.repository_address import transport
from agent.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """How the agent reaches the repository. `url` is checked (`agent/platform/repository_address.py`)."""

    url: str
    branch: str
    token_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    proxy: Proxy | None = None  # of https
    ca_file: Path | None = None
    max_bytes: int = 1 << 30  # of one fetch
    timeout: float = 300.0  # seconds of one fetch

    @classmethod
    def of(cls, settings: Settings) -> "RepositoryAccess":
        """As the settings say."""
        return cls(
            url=settings.source_url,
            branch=settings.source_branch,
            token_file=settings.source_token_file,
            ssh_key_file=settings.source_ssh_key_file,
            known_hosts_file=settings.source_known_hosts_file,
            proxy=_proxy(settings),
            ca_file=settings.ca_file,
            max_bytes=settings.source_max_bytes,
            timeout=settings.source_timeout,
        )

    @property
    def protocol(self) -> str:
        """https, ssh or file; or http, on loopback only."""
        return transport(self.url)

    @property
    def user(self) -> str:
        """The user that the URL of an https repository names, otherwise one that servers accept with a token."""
        return urlsplit(self.url).username or "git"


def _proxy(settings: Settings) -> Proxy | None:
    """The proxy for this repository."""
    parts = urlsplit(settings.source_url)
    if not settings.proxy_url.get_secret_value() or parts.scheme != "https":
        return None
    if is_direct(parts.hostname or "", parts.port or 443, settings.no_proxy):
        return None
    return Proxy.of(settings.proxy_url.get_secret_value(), settings.proxy_password.get_secret_value())
