"""Events as Assure sends them, built independently of the agent's code."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from agent.daemon.agent import Agent
from tests.support.timeouts import PATIENT

SECRET = "a-secret-of-the-subscription"


def envelope(name: str = "process.complete", event_id: str | None = None, **data: Any) -> bytes:
    """The nine fields of contract §11."""
    return json.dumps(
        {
            "id": event_id or secrets.token_hex(16),
            "timestamp": "2026-11-23T10:00:00.1234567Z",
            "sender": "assure",
            "eventName": name,
            "eventData": data,
            "accountId": "a-spge-0000",
            "organizationId": None,
            "expiresAt": "2026-11-23T10:00:30.1234567Z",
            "tags": [],
        }
    ).encode()


def signature(body: bytes, secret: str = SECRET, encoding: str = "hex") -> str:
    mac = hmac.new(secret.encode(), body, hashlib.sha256)
    return mac.hexdigest() if encoding == "hex" else base64.b64encode(mac.digest()).decode()


@dataclass
class Sender:
    """Posts to an agent's POST /events."""

    url: str
    agent: Agent

    async def send(self, body: bytes, headers: dict[str, str] | None = None, secret: str = SECRET) -> int:
        """The status of the answer."""
        given = {"X-Signicat-Signature": signature(body, secret)} if headers is None else headers
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            answer = await client.post(f"{self.url}/events", content=body, headers=given)
        return answer.status_code
