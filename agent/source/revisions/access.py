"""The address of the repository, the credentials for it, and the limits of a fetch."""

from dataclasses import dataclass
from pathlib import Path

from agent.platform.proxy import Proxy
from agent.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """How the agent reaches the repository. `proxy` applies to https only."""

    url: str
    branch: str
    token_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    proxy: Proxy | None = None
    ca_file: Path | None = None
    max_bytes: int = 1 << 30  # of one fetch
    timeout: float = 300.0  # seconds of one fetch

    @classmethod
    def of(cls, settings: Settings) -> "RepositoryAccess":
        """As the settings say."""
        raise NotImplementedError
