"""Sessions of the status page: a one-time link begins one, a cookie carries it. A restart ends all of them."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

LINK_SECONDS = 600.0
_SESSION_SECONDS = 12 * 3600.0
_MAX_LINKS = 16  # unused links
_MAX_SESSIONS = 64


class _Secrets:
    """Random secrets with a lifetime, kept as digests. Beyond `most`, the oldest one expires."""

    def __init__(self, seconds: float, most: int, monotonic: Callable[[], float]) -> None:
        self._seconds, self._limit, self._monotonic = seconds, most, monotonic
        self._ends: dict[bytes, float] = {}  # oldest first

    def make(self) -> str:
        """A new secret of 128 bits."""
        secret = secrets.token_urlsafe(16)
        self._expire()
        while len(self._ends) >= self._limit:
            del self._ends[next(iter(self._ends))]
        self._ends[_digest(secret)] = self._monotonic() + self._seconds
        return secret

    def known(self, secret: str) -> bytes | None:
        """The digest of a valid secret, or None. Compares in constant time."""
        self._expire()
        given = _digest(secret)
        same = [digest for digest in self._ends if hmac.compare_digest(digest, given)]
        return same[0] if same else None

    def take(self, secret: str) -> bool:
        """Expire a secret. True: it was valid."""
        digest = self.known(secret)
        if digest is not None:
            del self._ends[digest]
        return digest is not None

    def _expire(self) -> None:
        now = self._monotonic()
        self._ends = {digest: end for digest, end in self._ends.items() if end > now}


class Sessions:
    """One-time links, and the sessions that they begin. `monotonic`: a monotonic clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._links = _Secrets(LINK_SECONDS, _MAX_LINKS, monotonic)
        self._sessions = _Secrets(_SESSION_SECONDS, _MAX_SESSIONS, monotonic)
        self._cookie_suffix = secrets.token_hex(4)

    def link(self, base_url: str) -> str:
        """A new link below `base_url`: it works once, for ten minutes."""
        return f"{base_url}/login?code={self._links.make()}"

    def begin(self, request: Request, response: Response) -> bool:
        """Exchange the code of a link for a cookie on `response`. False: the code is used, expired or unknown."""
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
        """True if the request has the cookie of a session."""
        return self._sessions.known(request.cookies.get(self._cookie(request), "")) is not None

    def _cookie(self, request: Request) -> str:
        """The name of the cookie, different for each agent: cookies ignore ports."""
        server = request.scope.get("server")
        return f"assure-agent-{server[1] if server else 0}-{self._cookie_suffix}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
