"""The receiver of Assure Events and the signature of a delivery (contract §11).

The Dashboard knows a webhook by its URL and an optional secret. HMAC-SHA256 over the raw body is third-party knowledge.
The header, the encoding and the prefix are guesses, so all of them are switches.
"""

import base64
import hashlib
import hmac
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.alias_generators import to_camel

from agent.sandbox.model import Json

Seconds = Annotated[float, Field(gt=0)]


class Subscription(BaseModel):
    """One webhook. JSON names are in camel case. Without a secret there is no signature."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )

    url: str
    secret: SecretStr = SecretStr("")
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Signicat-Signature"  # choice
    encoding: Literal["hex", "base64"] = "hex"  # choice
    prefix: Annotated[str, Field(pattern=r"^[!-~]*$")] = ""  # in front of the signature, such as `sha256=`; choice
    lifetime: Seconds = 30.0  # until expiresAt; that of the vendor's mock event
    first_retry: Seconds = 1.0  # then twice as long each time; choice
    timeout: Seconds = 10.0  # that of the legacy callback; choice
    when_canceled: bool = True  # choice: false sends no event for `canceled`
    when_failed_by_request: bool = True  # choice: false sends no event for a failure by POST fail

    @field_validator("url")
    @classmethod
    def _absolute(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an absolute http or https URL is expected")
        return url

    def row(self) -> Json:
        """The subscription as JSON, without its secret."""
        return self.model_dump(by_alias=True, exclude={"secret"})

    def headers(self, content: bytes) -> dict[str, str]:
        """The headers of a delivery, with its signature."""
        headers = {"content-type": "application/json"}
        if secret := self.secret.get_secret_value():
            digest = hmac.digest(secret.encode(), content, hashlib.sha256)
            text = digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()
            headers[self.header] = self.prefix + text
        return headers
