"""Whom the agent tells, and what it owes them."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from agent.core.notifications import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notice that is owed to a sink. `event` is the same however often it is sent; `name` is None once forgotten."""

    id: int
    event: str
    uid: str
    name: str | None
    mode: str
    notice: Notice

    def __repr__(self) -> str:
        return f"Delivery({self.id}, {self.notice.type} of {self.uid})"


class Sink(Protocol):
    """Somebody who wants to be told."""

    async def send(self, delivery: Delivery) -> bool:
        """Tell it; True when the sink took it. Never raises for an answer or for the lack of one."""


def sink_id(url: str) -> str:
    """Return the id of a sink in the store. A digest: the URL may hold a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
