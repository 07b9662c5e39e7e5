"""Capture links in the database: sealed, because the write-ahead log, standbys and backups keep what was deleted [I6].

A link is a bearer secret. It is encrypted with AES-256-GCM under a key that is derived from the agent's key, which the
database does not contain. The uid is authenticated too, so a link cannot be shown for another request.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.store.identity_key import Keys

_NONCE = 12


class LinkSeal:
    """Seals and opens capture links. Any thread may call it."""

    def __init__(self, keys: Keys) -> None:
        self._cipher = AESGCM(keys.derived("capture links"))

    def seal(self, uid: str, link: str) -> str:
        """The sealed link, in base64."""
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, link.encode(), uid.encode())).decode()

    def open(self, uid: str, sealed: str) -> str | None:
        """The link; None if it was sealed under another key or for another request, so that it is lost."""
        try:
            content = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], uid.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            return None
