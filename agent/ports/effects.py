"""What effects need besides Assure: pictures, seals, the budget, and the document types of today."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | UnusableImage:
        """The images as they were admitted, or the first one that changed or cannot be read."""


class ClaimsEncryptionError(Exception):
    """Claims that cannot be sealed. `reason` is a token: no-key, disk."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClaimsEncryption(Protocol):
    """Encrypts claims."""

    def encrypt(self, claims_request: ClaimsRequest, claims: bytes, at: float) -> EncryptedClaims:
        """The claims of this moment, sealed until their time is over. Blocking, for milliseconds. Raises Unsealable.

        What was sealed can be opened again only once it was committed.
        """


class Budget(Protocol):
    """The starts of a day."""

    def take(self) -> float | None:
        """Take one; None when there was one, otherwise when the next day's budget begins."""


class DocumentTypes(Protocol):
    """Assure's document types, as of today."""

    async def resolve(self, key: DocumentKey) -> Resolution | None:
        """What is meant, by a list of at most a day; None while no such list can be had. Returns within seconds."""
