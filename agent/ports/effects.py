"""The ports for effects, except the Assure API: images, claims encryption, start budget, document types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.core.assure_types import Depiction, DocumentKey
    from agent.core.document_types import Resolution
    from agent.core.effect import ClaimsRequest, ImageRef
    from agent.core.observations import EncryptedClaims
    from agent.ports.remote import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableImage:
    """An image that cannot be sent.

    `reason` is a token: missing, changed, outside, format, cut-off, too-large, unreadable. `message` names the
    depiction and no path, and `hint` is printed after `Try: `.
    """

    depiction: Depiction
    reason: str
    message: str
    hint: str


class Pictures(Protocol):
    """The images folder."""

    async def verify(self, images: Sequence[ImageRef]) -> UnusableImage | None:
        """Check the admitted images. Returns the first one that changed or cannot be read, if there is one.

        An image that this process read and that did not change since is not read again.
        """

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | UnusableImage:
        """Read the admitted images. Returns the first one that changed or cannot be read instead, if there is one."""


class ClaimsEncryptionError(Exception):
    """The agent cannot encrypt claims. `reason` is a token: no-key, disk."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClaimsEncryption(Protocol):
    """Encrypts claims."""

    def encrypt(self, claims_request: ClaimsRequest, claims: bytes, at: float) -> EncryptedClaims:
        """Encrypt the claims until they expire. Blocks for milliseconds. Raises ClaimsEncryptionError.

        Their key is kept only if the result is committed.
        """


class Budget(Protocol):
    """The start budget: the starts that the agent may make in one day."""

    async def take(self, uid: str, generation: int) -> float | None:
        """Take one start for this generation. Returns None, or the time of the next budget if none is left."""


class DocumentTypes(Protocol):
    """Assure's document types, at most a day old."""

    async def resolve(self, wanted: DocumentKey | int) -> Resolution | None:
        """Resolve a country and type, or an id. Returns within seconds; None while Assure returns no list."""

    async def listed_ids(self) -> frozenset[int] | None:
        """The ids that Assure lists. None while the agent has no valid list; it makes no call."""
