"""Encrypted claims as rows of the table `claims`. Most readers decrypt nothing and import no cryptography."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.core.observations import EncryptedClaims

COLUMNS = "uid, generation, key_id, wrapped, ciphertext, expires_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClaims:
    """The claims of one generation, as stored."""

    uid: str
    generation: int
    encrypted: "EncryptedClaims"


def stored_claims(row: Sequence[Any]) -> StoredClaims:
    """Map a row of the table."""
    from agent.core.observations import EncryptedClaims

    sealed = EncryptedClaims(key_id=row[2], wrapped_key=row[3], ciphertext=row[4], expires_at=row[5])
    return StoredClaims(uid=row[0], generation=row[1], encrypted=sealed)
