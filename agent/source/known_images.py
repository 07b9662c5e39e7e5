"""The images that this process read and that did not change since. They need not be read again before a start.

Like git, the agent trusts the identity of a file: size, ctime, mtime, inode and device. No program can set a ctime. The
upload trusts none of it: it reads and hashes the bytes that it sends.
"""

import hashlib
import time
from collections.abc import Callable

from agent.source.safe_read import Content, FileIdentity, identify_beneath

_MOST = 50_000  # images, at some 250 bytes each; beyond them the oldest is forgotten, and read again
# A file system stamps changes with a clock that ticks every few milliseconds, or every two seconds if its times are
# whole seconds. Two changes within one tick have the same ctime. Therefore a file is remembered only if its ctime was
# older than a tick when its read began. Git has the same rule for "racily clean" entries.
_TICK = 0.1
_COARSE_TICK = 3.0
_SECOND = 1_000_000_000  # ns


class KnownImages:
    """The digests of images by path. Any thread may call it: each operation is one of a dict."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` is the wall clock in seconds since the epoch."""
        self.now = now
        self._known: dict[str, bytes] = {}

    def remember(self, path: str, content: Content, sha256: str, began: float) -> None:
        """Remember an image whose read began at the time `began`, unless it changed just before."""
        ctime = content.identity[1]
        age = began - ctime / _SECOND
        if age <= (_TICK if ctime % _SECOND else _COARSE_TICK):
            self._known.pop(path, None)
            return
        self._known[path] = _fingerprint(content.identity, content.device, sha256)
        if len(self._known) > _MOST:
            self._known.pop(next(iter(self._known)), None)

    def is_unchanged(self, root: str, path: str, sha256: str) -> bool:
        """True if the file at `path` below `root` was read with this digest and is the same since. It is not read."""
        known = self._known.get(path)
        if known is None:
            return False
        found = identify_beneath(root, path)
        return found is not None and known == _fingerprint(*found, sha256)


def _fingerprint(identity: FileIdentity, device: int, sha256: str) -> bytes:
    """All values in 16 bytes: a fifth of the memory of the values."""
    return hashlib.blake2b(repr((identity, device, sha256)).encode(), digest_size=16).digest()
