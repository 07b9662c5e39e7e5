"""Sessions of the status page: begun by a one-time link, kept by a cookie. In memory only, so a restart ends them."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

LINK_SECONDS = 600.0
_SESSION_SECONDS = 12 * 3600.0
_MOST_LINKS = 16  # that wait to be used
_MOST_SESSIONS = 64


class _Secrets:
    """Random secrets with a lifetime, kept as digests. Beyond `most` the oldest one ends."""

    def __init__(self, seconds: float, most: int, monotonic: Callable[[], float]) -> None:
        self._seconds, self._most, self._monotonic = seconds, most, monotonic
        self._ends: dict[bytes, float] = {}  # oldest first

    def make(self) -> str:
        """A new secret of 128 bits."""
        secret = secrets.token_urlsafe(16)
        self._expire()
        while len(self._ends) >= self._most:
            del self._ends[next(iter(self._ends))]
        self._ends[_digest(secret)] = self._monotonic() + self._seconds
        return secret

    def known(self, secret: str) -> bytes | None:
        """The digest of a secret that is in force, or None. Compared with each in constant time."""
        self._expire()
        given = _digest(secret)
        same = [digest for digest in self._ends if hmac.compare_digest(digest, given)]
        return same[0] if same else None

    def take(self, secret: str) -> bool:
        """True where it was in force; from now on it is not."""
        digest = self.known(secret)
        if digest is not None:
            del self._ends[digest]
        return digest is not None

    def _expire(self) -> None:
        now = self._monotonic()
        self._ends = {digest: end for digest, end in self._ends.items() if end > now}


class Sessions:
    """One-time links, and the sessions that they begin. `monotonic` is a clock in seconds that never jumps."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._links = _Secrets(LINK_SECONDS, _MOST_LINKS, monotonic)
        self._sessions = _Secrets(_SESSION_SECONDS, _MOST_SESSIONS, monotonic)
        self._mark = secrets.token_hex(4)

    def link(self, base_url: str) -> str:
        """A new link below `base_url`: it works once, for ten minutes."""
        return f"{base_url}/login?code={self._links.make()}"

    def begin(self, request: Request, response: Response) -> bool:
        """Exchange the code of a link for a cookie on `response`. False: it was used, is too old, or never was."""
        if not self._links.take(request.query_params.get("code", "")):
            return False
        response.set_cookie(
            self._cookie(request),
            self._sessions.make(),
            max_age=int(_SESSION_SECONDS),
            httponly=True,
            samesite="strict",
        )
        return True

    def includes(self, request: Request) -> bool:
        """True where the request bears the cookie of a session."""
        return self._sessions.known(request.cookies.get(self._cookie(request), "")) is not None

    def _cookie(self, request: Request) -> str:
        """The name of our cookie. Cookies ignore ports, and forwarded ports may be the same: no two agents share it."""
        server = request.scope.get("server")
        return f"assure-agent-{server[1] if server else 0}-{self._mark}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
