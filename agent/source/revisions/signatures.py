"""The signers of commits, by an allowed-signers file (SSH) or a keyring (OpenPGP)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.core.source_revision import RevisionRefusal
from agent.source.revisions.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Signature:
    """The result for one commit: either a signer (principal or user id, and the key's fingerprint), or a refusal."""

    signer: str | None
    refusal: RevisionRefusal | None


class SignatureVerifier:
    """Verifies commits of a mirror. A result is remembered as long as the files of signers do not change."""

    def __init__(
        self,
        mirror: Mirror,
        allowed_signers: Path | None,
        revoked_signers: Path | None,
        keyring: Path | None,
        folder: Path,  # for gpg's own files
    ) -> None: ...

    def verify(self, commits: Collection[str]) -> Mapping[str, Signature]:
        """The signature of each commit. Never raises: a commit that cannot be checked is UNVERIFIED."""
        raise NotImplementedError
