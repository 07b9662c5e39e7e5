"""The token endpoint and the bearer check (contract §1, §14.1). Tokens resemble JWTs but are opaque to clients."""

import base64
import binascii
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs

import orjson

from agent.sandbox.config import SandboxConfig
from agent.sandbox.model import AssureError, Json

SCOPE = "signicat-api"
_HEADER = {"typ": "at+jwt", "alg": "RS256", "kid": "sandbox"}


class OAuthError(Exception):
    """A refusal of the token endpoint (RFC 6749 §5.2)."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


class Tokens:
    """The valid tokens and their expiry times."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._ends: dict[str, float] = {}

    def issue(self, authorization: str, content_type: str, form: bytes) -> Json:
        """Check Basic credentials, grant_type and scope. Return the answer of the token endpoint."""
        self._know(authorization)
        if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise OAuthError(400, "invalid_request", "The body must be a form.")
        fields = parse_qs(form.decode("latin-1"))
        if fields.get("grant_type") != ["client_credentials"]:
            raise OAuthError(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        if fields.get("scope") != [SCOPE]:
            raise OAuthError(400, "invalid_scope", f"scope must be {SCOPE}.")
        now = self._clock()
        self._ends = {token: end for token, end in self._ends.items() if end > now}
        token = self._token(now)
        self._ends[token] = now + self._config.token_lifetime
        return {
            "access_token": token,
            "expires_in": int(self._config.token_lifetime),
            "token_type": "Bearer",
            "scope": SCOPE,
        }

    def check(self, authorization: str) -> None:
        """Check the bearer token of a call. Raise AssureError when it is invalid."""
        if not authorization:
            raise MISSING
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AssureError(
                self._config.malformed_auth_status,
                "Malformed Authorization header.",
                "Please provide a valid Bearer authentication.",
            )
        end = self._ends.get(token)
        if end is None:
            raise REVOKED
        if end <= self._clock():
            raise AssureError(401, "The JWT has expired.", "Please request another token.")

    def revoke(self, authorization: str) -> None:
        """Invalidate that token."""
        self._ends.pop(authorization.partition(" ")[2], None)

    def revoke_all(self) -> None:
        """Invalidate every token."""
        self._ends.clear()

    def _know(self, authorization: str) -> None:
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self._config.client_id}:{self._config.client_secret}".encode()
        if scheme.lower() != "basic" or not secrets.compare_digest(given, expected):
            raise OAuthError(401, "invalid_client", "Client authentication failed.")

    def _token(self, now: float) -> str:
        claims = {
            "iss": "https://api.signicat.com/auth/open",
            "aud": "https://api.signicat.com",
            "client_id": self._config.client_id,
            "jti": secrets.token_hex(16),
            "nbf": int(now),
            "iat": int(now),
            "exp": int(now + self._config.token_lifetime),
            "sandbox": True,
            "scope": [SCOPE],
        }
        parts = (orjson.dumps(_HEADER), orjson.dumps(claims), secrets.token_bytes(32))
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# The OpenAPI declares 401 for every operation that names its errors. This text is a choice.
MISSING = AssureError(401, "Unauthorized", "Please provide a valid Bearer authentication.")

# The documented text for a token that Assure does not know (contract §2).
REVOKED = AssureError(
    401,
    "The signature of the JWT could not be validated because the key was not found.",
    "The given JWT is signed by a key with key ID 'sandbox', but no such key was found.",
)
