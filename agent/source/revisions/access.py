"""The address of the repository, the credentials for it, and the limits of a fetch."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.core.errors import SettingsError
from agent.platform.proxy import Proxy, is_direct
from agent.platform.settings import PREFIX, Settings, loopback

_SCP = re.compile(r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_.][A-Za-z0-9_.-]*:(?!:)[^:\s].*")  # git@host:path


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """How the agent reaches the repository. `proxy` and the client certificate apply to https only.

    Raises SettingsError for an address that the agent must not use.
    """

    url: str
    branch: str
    token_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    proxy: Proxy | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    max_bytes: int = 1 << 30  # of one fetch
    timeout: float = 300.0  # seconds of one fetch

    def __post_init__(self) -> None:
        _check(self.url)

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
            client_cert_file=settings.client_cert_file,
            client_key_file=settings.client_key_file,
            max_bytes=settings.source_max_bytes,
            timeout=settings.source_timeout,
        )

    @property
    def protocol(self) -> str:
        """https, ssh or file; or http, on loopback only."""
        return urlsplit(self.url).scheme if "://" in self.url else "ssh"

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


def _check(url: str) -> None:
    """Raise SettingsError unless git would use one of these protocols for this URL."""
    setting = f"{PREFIX}SOURCE_URL"
    hint = "use https://HOST/PATH, ssh://git@HOST/PATH or file:///PATH"
    if not url.isprintable():
        raise SettingsError(f"{setting}: the URL contains a control character.", hint)
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname or parts.scheme == "file") and (parts.port or 1) > 0
    except ValueError:
        raise SettingsError(f"{setting}: the URL is malformed.", hint) from None
    if "://" not in url:
        if not _SCP.fullmatch(url):
            raise SettingsError(f"{setting}: the value is not a URL of a repository.", hint)
        return
    local = parts.scheme == "http" and loopback(parts.hostname or "")
    if not (local or parts.scheme in ("https", "ssh", "file")) or not url.startswith(f"{parts.scheme}://"):
        raise SettingsError(f"{setting}: the scheme must be https, ssh or file, not {url.partition('://')[0]!r}.", hint)
    if parts.password is not None:
        raise SettingsError(
            f"{setting}: the URL contains a password, which would be visible to other users.",
            f"remove it, and name a file that contains it in {PREFIX}SOURCE_TOKEN_FILE",
        )
    if not known or (parts.hostname or "").startswith("-") or not parts.path.strip("/"):
        raise SettingsError(f"{setting}: the URL names no host, or no repository on it.", hint)
    if parts.query or parts.fragment:
        raise SettingsError(f"{setting}: the URL must not contain ? or #.", hint)
    if parts.scheme == "file" and parts.netloc:
        raise SettingsError(f"{setting}: the URL of a file has three slashes before its path.", hint)
