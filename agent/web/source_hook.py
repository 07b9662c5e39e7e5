"""`POST /hooks/source`: the git server reports a push, and the agent fetches at once.

A hook decides nothing. The agent asks the server for the branch itself, as it does at each SOURCE_INTERVAL. So a
repeated, late or lost hook does no harm, and its body is never parsed: it is hashed as it arrives, and not kept.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.core.hook_result import HookResult
from agent.platform.callbacks import isolated
from agent.web.request_body import IncompleteError, OversizedError, receive_body

PATHS = ("/hooks/source", "/hooks/source/")  # senders of hooks follow no redirect
MAX_BODY_BYTES = 25 * 1024 * 1024  # GitHub sends no larger one; a usual one has less than 100 kB
_STATUS = {
    HookResult.ACCEPTED: 202,
    HookResult.FORGED: 401,
    HookResult.OVERSIZED: 413,
    HookResult.UNREADABLE: 400,
}
_SIGNATURES = {  # the headers with the HMAC-SHA256 of the body in hexadecimal, and the prefix of their value
    "x-hub-signature-256": "sha256=",  # GitHub
    "x-gitea-signature": "",  # Gitea, Forgejo
    "x-gogs-signature": "",
    "x-signature": "sha256=",  # as the generic-hmac receiver of Flux expects it
}
_TOKEN = "x-gitlab-token"  # noqa: S105 - a header; GitLab sends the secret itself


class SourceHookEndpoint:
    """Receives hooks. `fetch_now` makes the agent fetch, and returns at once; `on_result` gets the result of each."""

    def __init__(
        self, secrets: Sequence[str], fetch_now: Callable[[], None], on_result: Callable[[HookResult], None]
    ) -> None:
        """Any of the secrets is valid, for rotation."""
        self._secrets = [secret.encode() for secret in secrets]
        self._fetch_now = fetch_now
        self._on_result = isolated(on_result)

    def routes(self) -> list[Route]:
        """`POST /hooks/source`, also with a trailing slash."""
        return [Route(path, self._respond, methods=["POST"]) for path in PATHS]

    async def _respond(self, request: Request) -> Response:
        received = await self._receive(request)
        self._on_result(received)
        if received is HookResult.ACCEPTED:
            self._fetch_now()
        return PlainTextResponse(f"{received}\n", status_code=_STATUS[received])

    async def _receive(self, request: Request) -> HookResult:
        macs = [hmac.new(secret, None, hashlib.sha256) for secret in self._secrets]

        def add(part: bytes) -> None:
            for mac in macs:
                mac.update(part)

        try:
            await receive_body(request, MAX_BODY_BYTES, add)
        except OversizedError:
            return HookResult.OVERSIZED
        except IncompleteError:
            return HookResult.UNREADABLE
        signed = _is_signed(request.headers, [mac.hexdigest() for mac in macs])
        return HookResult.ACCEPTED if signed or self._has_token(request.headers) else HookResult.FORGED

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        """True if GitLab's header has a secret. Digests are compared, so that the time reveals no length either."""
        given = hashlib.sha256(headers.get(_TOKEN, "").encode("latin-1")).digest()
        found = [hmac.compare_digest(hashlib.sha256(secret).digest(), given) for secret in self._secrets]
        return any(found)


def _is_signed(headers: Mapping[str, str], expected: Sequence[str]) -> bool:
    """True if a header has one of these HMACs. It makes every comparison, also after a match."""
    found = []
    for name, prefix in _SIGNATURES.items():
        given = headers.get(name, "").strip()
        value = given.removeprefix(prefix).lower() if given.startswith(prefix) else ""
        found += [hmac.compare_digest(mac.encode(), value.encode()) for mac in expected]
    return any(found)
