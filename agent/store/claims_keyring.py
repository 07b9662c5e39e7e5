"""Where claims are encrypted, and how they become unreadable for ever (design I6).

Three keys, each wrapping the next, all AES-256-GCM:

1. CLAIMS_KEY, which is in no file of ours, wraps
2. the keys of days, files in `keys/` beside the state file and in no backup of it; each wraps
3. the data keys, one for the claims of one request, which stand beside the ciphertext in the database.

A key of a day is for claims that *expire* on that day (of UTC). So it can be destroyed with the last of them; and when
only some are over, the data keys of the others are wrapped anew under a successor first (`claims.py`). From then on
every copy of what was over is noise, wherever it is: in a backup, in a freed page, in a snapshot of the disk.

A key that has wrapped a data key which is not in the database yet is never destroyed: that claim would be lost.
"""

import os
import secrets
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.core.effect import ClaimsRequest
from agent.core.errors import AgentError
from agent.core.observations import EncryptedClaims
from agent.platform.files import fsync_folder, write_atomically
from agent.ports import ClaimsEncryptionError

_NONCE = 12
_KEY = 32
_TAG = 16
_SUFFIX = ".key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClaims:
    """The claims of one generation as they stand in the database."""

    uid: str
    generation: int
    encrypted: EncryptedClaims


class ClaimsKeyring:
    """Seals and opens claims. All methods block for milliseconds, and may be called from any thread."""

    def __init__(self, folder: Path, secret: str) -> None:
        """`folder` is for the keys of days; `secret` is CLAIMS_KEY, or empty: then nothing is sealed or opened."""
        self._folder = folder
        self._master = _master(secret) if secret else None
        self._lock = threading.RLock()
        self._current: dict[str, str] = {}  # day -> the key that seals for it
        self._opened: dict[str, bytes] = {}
        self._uncommitted: Counter[str] = Counter()  # by key: what was sealed and is not in the database yet
        self._retired: set[str] = set()

    def __repr__(self) -> str:
        return "Vault(...)"

    @classmethod
    def for_store(cls, state: Path, secret: str) -> "ClaimsKeyring":
        """The vault of this state file."""
        return cls(state.with_name("keys"), secret)

    @property
    def usable(self) -> bool:
        """True when there is a CLAIMS_KEY."""
        return self._master is not None

    # -- sealing ------------------------------------------------------------------------------------------------

    def encrypt(self, claims_request: ClaimsRequest, claims: bytes, at: float) -> EncryptedClaims:
        """Encrypt claims under a key of their own, and that one under the key of their last day. Raises Unsealable."""
        expires_at = at + claims_request.ttl
        with self._lock:
            try:
                key_id, key = self._key_for(_day(expires_at))
            except OSError:
                raise ClaimsEncryptionError("disk") from None
            self._uncommitted[key_id] += 1
        data_key = AESGCM.generate_key(8 * _KEY)
        whose = _context(claims_request.uid, claims_request.generation)
        return EncryptedClaims(
            key_id=key_id,
            wrapped_key=_encrypted(key, data_key, f"{key_id}/{whose}"),
            ciphertext=_encrypted(data_key, claims, f"{whose}/{expires_at!r}"),
            expires_at=expires_at,
        )

    def committed(self, sealed: EncryptedClaims) -> None:
        """It is in the database now."""
        with self._lock:
            self._uncommitted[sealed.key_id] -= 1
            self._uncommitted += Counter()  # forget the zeros

    # -- opening ------------------------------------------------------------------------------------------------

    def check(self, kept: StoredClaims) -> None:
        """Raises AgentError when these claims could not be opened."""
        self._data_key(kept)

    def open(self, kept: StoredClaims) -> bytes:
        """The claims in clear. Raises AgentError, which says what is in the way."""
        sealed = kept.encrypted
        aad = f"{_context(kept.uid, kept.generation)}/{sealed.expires_at!r}"
        try:
            return _decrypted(self._data_key(kept), sealed.ciphertext, aad)
        except (InvalidTag, ValueError):
            raise _undecryptable() from None

    def _data_key(self, kept: StoredClaims) -> bytes:
        sealed = kept.encrypted
        with self._lock:
            if self._master is None:
                raise AgentError("CLAIMS_KEY is not set: claims cannot be decrypted.", "set it as the agent has it")
            try:
                key = self._key(sealed.key_id)
            except FileNotFoundError:
                raise AgentError(
                    "The key of these claims is gone: nobody can read them any more.",
                    "look whether the folder `keys` beside the state file is the one they were written with",
                ) from None
            except OSError as error:
                raise AgentError(
                    f"The key of these claims cannot be read: {error.strerror}.", "run it as the agent's user"
                ) from None
        if key is None:
            raise AgentError(
                "These claims were written under another CLAIMS_KEY.", "set the one that the agent had at that time"
            )
        try:
            return _decrypted(key, sealed.wrapped_key, f"{sealed.key_id}/{_context(kept.uid, kept.generation)}")
        except (InvalidTag, ValueError):
            raise _undecryptable() from None

    # -- making unreadable --------------------------------------------------------------------------------------

    def retire(self, key_id: str) -> bool:
        """Seal nothing more with it. False: something that was sealed with it is not in the database yet; ask again."""
        with self._lock:
            if self._uncommitted[key_id] > 0:
                return False
            self._retired.add(key_id)
            self._current = {day: current for day, current in self._current.items() if current != key_id}
            return True

    def rewrap(self, kept: StoredClaims) -> EncryptedClaims | None:
        """The same claims under another key of the same day; None when their key cannot be opened here."""
        try:
            data_key = self._data_key(kept)
        except AgentError:
            return None
        sealed = kept.encrypted
        with self._lock:
            key_id, key = self._key_for(sealed.key_id[:10])
        whose = _context(kept.uid, kept.generation)
        return EncryptedClaims(
            key_id=key_id,
            wrapped_key=_encrypted(key, data_key, f"{key_id}/{whose}"),
            ciphertext=sealed.ciphertext,
            expires_at=sealed.expires_at,
        )

    def destroy(self, key_id: str) -> None:
        """Overwrite and remove the key; on disk on return. One that is gone already is no error."""
        with self._lock:
            self._opened.pop(key_id, None)
            path = self._path(key_id)
            try:
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:
                return
            try:
                os.pwrite(handle, secrets.token_bytes(max(os.fstat(handle).st_size, _KEY)), 0)
                os.fsync(handle)
            finally:
                os.close(handle)
            path.unlink()
            fsync_folder(self._folder)

    def expired(self, now: float) -> list[str]:
        """Keys whose day is over: nothing can need them any more."""
        with self._lock:
            return [key_id for key_id in self._on_disk("*") if key_id[:10] < _day(now)]

    # -- keys of days -------------------------------------------------------------------------------------------

    def _key_for(self, day: str) -> tuple[str, bytes]:
        """The key that seals for this day: the one in use, one on disk, or a new one."""
        if self._master is None:
            raise ClaimsEncryptionError("no-key")
        for key_id in [self._current.get(day, ""), *self._on_disk(f"{day}-*")]:
            if not key_id or key_id in self._retired or not self._path(key_id).exists():
                continue
            if (key := self._key(key_id)) is not None:
                self._current[day] = key_id
                return key_id, key
        self._current[day] = key_id = f"{day}-{secrets.token_hex(4)}"
        return key_id, self._create_key(key_id, self._master)

    def _create_key(self, key_id: str, master: bytes) -> bytes:
        made = not self._folder.exists()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            fsync_folder(self._folder.parent)
        key = AESGCM.generate_key(8 * _KEY)
        write_atomically(self._path(key_id), _encrypted(master, key, f"day/{key_id}"))
        self._opened[key_id] = key
        return key

    def _key(self, key_id: str) -> bytes | None:
        """None: it is not ours to open (another CLAIMS_KEY, or not written whole). Raises OSError."""
        assert self._master is not None
        content = self._path(key_id).read_bytes()  # each time: a key that is gone is gone, whatever we remember
        if (known := self._opened.get(key_id)) is not None:
            return known
        try:
            key = _decrypted(self._master, content, f"day/{key_id}")
        except (InvalidTag, ValueError):
            return None
        self._opened[key_id] = key
        return key

    def _on_disk(self, pattern: str) -> list[str]:
        return sorted(path.name.removesuffix(_SUFFIX) for path in self._folder.glob(pattern + _SUFFIX))

    def _path(self, key_id: str) -> Path:
        return self._folder / (key_id + _SUFFIX)


def _master(secret: str) -> bytes:
    """A key from CLAIMS_KEY. HKDF shapes a random text; it does not make a weak one strong."""
    return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=b"assure-agent claims").derive(secret.encode())


def _encrypted(key: bytes, clear: bytes, about: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, clear, about.encode())


def _decrypted(key: bytes, sealed: bytes, about: str) -> bytes:
    if len(sealed) < _NONCE + _TAG:
        raise ValueError("too short")
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())


def _context(uid: str, generation: int) -> str:
    return f"{uid}/{generation}"


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _undecryptable() -> AgentError:
    return AgentError(
        "These claims are not what was written: they cannot be decrypted.", "look with `assure-agent audit verify`"
    )
