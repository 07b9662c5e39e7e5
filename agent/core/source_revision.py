"""The revision of a git source: the commit that the agent acts on, and why it does not act on a newer one.

A commit is 40 or 64 hexadecimal digits. Times are in seconds since the epoch.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def is_object_id(text: str) -> bool:
    """True for the complete name of a commit, or of another object of git."""
    return _OBJECT_ID.fullmatch(text) is not None


class FetchFailure(StrEnum):
    """Why the last fetch failed. The agent goes on with the last good revision."""

    AUTHENTICATION = "authentication"  # the server refused the credentials, or asked for some
    DNS = "dns"  # the name of the host is unknown
    TLS = "tls"  # the certificate is not trusted
    HOST_KEY = "host-key"  # the SSH key of the host is not in SOURCE_KNOWN_HOSTS_FILE
    NETWORK = "network"  # no connection, or it ended early
    NOT_FOUND = "not-found"  # the server has no such repository
    MOVED = "moved"  # the server redirects to another address
    NO_BRANCH = "no-branch"  # the repository has no such branch
    NO_PATH = "no-path"  # the branch has no folder SOURCE_PATH
    TOO_LARGE = "too-large"  # more than SOURCE_MAX_BYTES
    TIMEOUT = "timeout"  # longer than SOURCE_TIMEOUT
    DAMAGED = "damaged"  # the repository contains invalid objects
    NO_GIT = "no-git"  # the program git, or ssh, is missing or too old
    DISK = "disk"  # the folder next to the state file cannot be written
    OTHER = "other"


class RevisionRefusal(StrEnum):
    """Why the agent does not act on a fetched revision."""

    NOT_DESCENDED = "not-descended"  # it does not descend from the revision that the agent acts on
    UNSIGNED = "unsigned"  # a commit has no signature
    BAD_SIGNATURE = "bad-signature"  # a signature does not match its commit
    UNKNOWN_SIGNER = "unknown-signer"  # the key is not (or at that time not) one of the allowed signers
    EXPIRED_KEY = "expired-key"
    REVOKED_KEY = "revoked-key"
    UNVERIFIED = "unverified"  # the signature could not be checked, for example because gpg is missing

    @property
    def needs_approval(self) -> bool:
        """True if `assure-agent approve` lets the agent act on the revision. A signature cannot be approved."""
        return self is RevisionRefusal.NOT_DESCENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A verified commit of the source. `signer` is None without SOURCE_VERIFY; it is personal data."""

    commit: str
    committed_at: float
    signer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRevision:
    """A fetched commit that the agent does not act on. `commit` is the one that is the reason, perhaps an older one."""

    revision: str
    reason: RevisionRefusal
    commit: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionState:
    """The state of a git source."""

    acted: Revision | None = None  # the revision that was scanned last
    acted_at: float | None = None  # when it was scanned first
    fetched_at: float | None = None  # when the server last reported its head
    refused: RefusedRevision | None = None
    failure: FetchFailure | None = None
    failing_since: float | None = None
