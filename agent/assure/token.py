"""The access token (client credentials): cached, renewed early, by one request for all waiting calls (contract §1)."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_plus

from agent.core.answer import Answer, Busy, Done, Evidence, Refused, Unknown
from agent.core.classify import HttpReply, Unreadable
from agent.ports import Clock

BODY: Final = b"grant_type=client_credentials&scope=signicat-api"

NEW_TOKENS: Final = 3  # new tokens that Assure refuses in a row before the client counts as rejected

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")  # RFC 6750 §2.1: nothing that could break out of a header
_MAX_LIFETIME = 3600.0  # the longest an API client can be given (contract §1)
_MARGIN = 30.0
_PAUSE_AFTER_FAILURE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it was issued; `lifetime` in seconds. repr hides its value."""

    value: str = field(repr=False)
    lifetime: float


TokenAnswer = Done[Token] | Refused | Busy
"""The token, or the failure: a rejected client (Refused) or a temporary one (Busy)."""

Fetch = Callable[[], Awaitable[Answer[Token]]]


def read_token(reply: HttpReply) -> Token:
    """The token endpoint's 200 (contract §1)."""
    body = reply.document
    if not isinstance(body, dict):
        raise Unreadable
    value, lifetime, kind = body.get("access_token"), body.get("expires_in"), body.get("token_type", "Bearer")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unreadable
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or lifetime <= 0:
        raise Unreadable
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Unreadable
    return Token(value=value, lifetime=min(float(lifetime), _MAX_LIFETIME))


def basic(client_id: str, secret: str) -> str:
    """The Authorization header of the token request: both parts form-urlencoded first (RFC 6749 §2.3.1)."""
    return "Basic " + b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


class TokenSource:
    """Provides the current token. `fetch` requests a new one; `on_answer` receives each answer of the endpoint once.

    Time comes from `clock` alone. If the clock goes back, the cached token or failure is dropped.
    """

    def __init__(
        self, fetch: Fetch, clock: Clock, on_answer: Callable[[TokenAnswer], None] = lambda answer: None
    ) -> None:
        self._fetch = fetch
        self._on_answer = on_answer
        self._clock = clock
        self._token: TokenAnswer | None = None
        self._renew_at = 0.0
        self._expires_at = 0.0
        self._renewal: asyncio.Task[TokenAnswer] | None = None
        self._accepted = True  # Assure has accepted the current token, or has not received it yet
        self._refused = 0  # new tokens that Assure refused, in a row

    @property
    def client_rejected(self) -> bool:
        """True if Assure refuses several new tokens in a row: the client is rejected, not the token."""
        return self._refused >= NEW_TOKENS

    def current(self) -> TokenAnswer | None:
        """The cached token or failure. None: `get` has to request one."""
        if self._token is not None and self._renew_at <= self._clock.now() < self._expires_at:
            return self._token
        return None

    async def get(self) -> TokenAnswer:
        """The token, or the failure. All waiting calls share one request and its answer.

        A failure is cached as well, for a moment or for the Retry-After: thousands of concurrent calls must not become
        thousands of token requests.
        """
        if (known := self.current()) is not None:
            return known
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        return await asyncio.shield(self._renewal)  # a cancelled caller must not cancel the renewal

    def accepted(self) -> None:
        """Assure accepted the token."""
        self._accepted, self._refused = True, 0

    def invalidate(self, token: str) -> None:
        """A call with `token` was answered 401. Only the first such answer for the current token has an effect."""
        if isinstance(self._token, Done) and self._token.value.value == token:
            self._token = None
            self._refused = 0 if self._accepted else self._refused + 1

    async def aclose(self) -> None:
        """Cancel a renewal in flight."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew(self) -> TokenAnswer:
        try:
            return await self._ask()
        except asyncio.CancelledError:  # only `aclose` cancels a renewal; the waiting calls get an answer
            return Busy(evidence=Evidence(cause="closed"))
        finally:
            self._renewal = None

    async def _ask(self) -> TokenAnswer:
        asked = self._clock.now()  # before the request: the lifetime starts at an unknown time after it
        answer = await self._fetch()
        if isinstance(answer, Unknown):  # `classify` never returns it for a token; a retry is free
            answer = Busy(evidence=answer.evidence)
        if isinstance(answer, Done):
            lifetime, self._accepted = answer.value.lifetime, False
            return self._keep(answer, asked, lifetime - min(_MARGIN, lifetime / 5))
        pause = answer.retry_after if isinstance(answer, Busy) else None
        return self._keep(answer, self._clock.now(), max(pause or 0.0, _PAUSE_AFTER_FAILURE))

    def _keep(self, answer: TokenAnswer, start: float, seconds: float) -> TokenAnswer:
        self._token, self._renew_at, self._expires_at = answer, start, start + seconds
        self._on_answer(answer)
        return answer
