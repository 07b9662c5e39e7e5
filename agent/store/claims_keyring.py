"""The keys that encrypt claims. Destroying a key makes the claims permanently unreadable (design I6).

There are three levels of keys, all AES-256-GCM:

1. CLAIMS_KEY comes from the settings, and the agent stores it in no file. It wraps the day keys.
2. The day keys are files in KEYS_DIR, or in `keys/` next to the state file. No backup contains them. Each wraps data
   keys.
3. The data keys encrypt the claims of one request each. They are in the store next to the ciphertext.

A day key is for the claims that *expire* on that day (UTC), so the agent destroys it with the last of them. If only
some of them have expired, the agent first wraps the data keys of the others under another key of that day
(`claims.py`). Then every copy of the expired claims is unreadable: in backups, freed pages and disk snapshots.

The agent never destroys a day key that has wrapped an uncommitted data key, because those claims would be lost.
"""

import os
import secrets
import threading
from collections import Counter
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
from agent.store.stored_claims import StoredClaims

_NONCE = 12
_KEY = 32
_TAG = 16
_SUFFIX = ".key"


class ClaimsKeyring:
    """Encrypts and decrypts claims. All methods block for milliseconds. Any thread may call them."""

    def __init__(self, folder: Path, secret: str) -> None:
        """`folder` has the day keys. `secret` is CLAIMS_KEY; if empty, claims cannot be encrypted or decrypted."""
        self._folder = folder
        self._master = _master(secret) if secret else None
        self._lock = threading.RLock()
        self._current: dict[str, str] = {}  # day -> its key in use
        self._opened: dict[str, bytes] = {}
        self._uncommitted: Counter[str] = Counter()  # by key: claims that are encrypted and not committed yet
        self._retired: set[str] = set()

    def __repr__(self) -> str:
        return "ClaimsKeyring(...)"

    @classmethod
    def for_store(cls, state: Path, secret: str) -> "ClaimsKeyring":
        """The keyring of this state file."""
        return cls(state.with_name("keys"), secret)

    @property
    def usable(self) -> bool:
        """True if CLAIMS_KEY is set."""
        return self._master is not None

    # -- encryption ------------------------------------------------------------------------------------------------

    def encrypt(self, claims_request: ClaimsRequest, claims: bytes, at: float) -> EncryptedClaims:
        """Encrypt claims under a new data key, wrapped by the key of their last day. Raises ClaimsEncryptionError."""
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
        """Record that these claims are committed."""
        with self._lock:
            self._uncommitted[sealed.key_id] -= 1
            self._uncommitted += Counter()  # forget the zeros

    # -- decryption ------------------------------------------------------------------------------------------------

    def check(self, kept: StoredClaims) -> None:
        """Raises AgentError if these claims cannot be decrypted."""
        self._data_key(kept)

    def open(self, kept: StoredClaims) -> bytes:
        """Decrypt claims. Raises AgentError with the cause."""
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
                    "The key of these claims is gone: they are permanently unreadable.",
                    "check that the folder `keys` next to the state file is the one that the claims were written with",
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

    # -- destruction --------------------------------------------------------------------------------------

    def retire(self, key_id: str) -> bool:
        """Stop using this key. False: some of its claims are not committed yet. Call it again."""
        with self._lock:
            if self._uncommitted[key_id] > 0:
                return False
            self._retired.add(key_id)
            self._current = {day: current for day, current in self._current.items() if current != key_id}
            return True

    def rewrap(self, kept: StoredClaims) -> EncryptedClaims | None:
        """Wrap the data key under another key of the same day. None: the current key cannot be opened."""
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
        """Overwrite and remove the key file, durably. A missing file is accepted."""
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
        """The keys of past days."""
        with self._lock:
            return [key_id for key_id in self._on_disk("*") if key_id[:10] < _day(now)]

    # -- day keys -------------------------------------------------------------------------------------------

    def _key_for(self, day: str) -> tuple[str, bytes]:
        """The key for this day: the one in use, one on disk, or a new one."""
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
        """Open a key. None: it belongs to another CLAIMS_KEY, or the file is incomplete. Raises OSError."""
        assert self._master is not None
        content = self._path(
            key_id
        ).read_bytes()  # every time, so that a deleted key file is never served from the cache
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
    """Derive a key from CLAIMS_KEY. HKDF does not make a weak text strong."""
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
        "These claims are not what was written: they cannot be decrypted.", "run `assure-agent audit verify`"
    )
