"""The key file next to the store. Uids and digests depend on it, so they stay the same after the loss of the store."""

import hmac
import secrets
from pathlib import Path
from typing import Any

import orjson

from agent.core.errors import StoreDamaged
from agent.platform.files import write_atomically
from agent.platform.trusted_files import read_trusted


class Keys:
    """HMAC-SHA256 under one random key of 32 bytes, kept in a file of mode 0600."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def load_or_create(cls, store: Path, carried: str | None = None, file: Path | None = None) -> "Keys":
        """The key file of this store. If it is missing, create it: from `carried` (hex), or at random.

        `store`: the state file, or the path that the names of the local files begin with. `file`: KEY_FILE.
        """
        path = file or store.with_name("agent.key")
        if not path.exists():
            write_atomically(path, f"{carried or secrets.token_hex(32)}\n".encode())
        return cls(_read(path, given=file is not None))

    @classmethod
    def existing(cls, store: Path, file: Path | None = None) -> "Keys | None":
        """The key file of this store, or None. Writes nothing. `file`: KEY_FILE."""
        path = file or store.with_name("agent.key")
        return cls(_read(path, given=file is not None)) if path.exists() else None

    def uid(self, source: str, name: str) -> str:
        """The uid of a request: 24 hex digits, the same for the same source and name."""
        return self._hex(f"uid\0{source}\0{name}".encode())[:24]

    def digest(self, content: bytes) -> str:
        """A keyed digest. It distinguishes two documents and reveals nothing about either."""
        return self._hex(b"digest\0" + content)[:32]

    def seal(self, kind: str, *parts: Any) -> str:
        """A keyed digest of JSON values, 32 hex digits. `kind` separates the digests of different uses."""
        return self._hex(b"seal\0" + orjson.dumps([kind, *parts]))[:32]

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for this purpose. It reveals nothing about the key itself."""
        return hmac.digest(self._key, b"derived\0" + purpose.encode(), "sha256")

    @property
    def fingerprint(self) -> str:
        """The fingerprint of this key. It reveals nothing about the key."""
        return self._hex(b"key")[:16]

    @property
    def carried(self) -> str:
        """The key itself in hex, for a backup."""
        return self._key.hex()

    def agent_id(self) -> str:
        """The default agent id: 6 hex digits."""
        return self._hex(b"agent")[:6]

    def _hex(self, content: bytes) -> str:
        return hmac.digest(self._key, content, "sha256").hex()


def _read(path: Path, given: bool) -> bytes:
    """The key. `given`: the operator named the file, so its owner, mode and folder are checked as of other secrets."""
    try:
        content = read_trusted(path, secret=True) if given else path.read_bytes()
        key = bytes.fromhex(content.decode().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise StoreDamaged(
            f"The key file {path} does not hold 32 bytes in hex.",
            "restore it from a backup; without it, the agent cannot recognise what it created at Assure",
        )
    return key
