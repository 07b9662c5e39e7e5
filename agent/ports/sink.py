"""The receivers of notifications, and the outbox of what they have not received yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.core.notifications import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A pending notice for a sink. `event` is the same in every attempt. `name` is None once it was forgotten."""

    id: int
    event: str
    uid: str
    name: str | None
    mode: str
    notice: Notice

    def __repr__(self) -> str:
        return f"Delivery({self.id}, {self.notice.type} of {self.uid})"


class Sink(Protocol):
    """A receiver of notifications."""

    async def send(self, delivery: Delivery) -> bool:
        """Send it. True if the sink accepted it. Failures of the network raise nothing."""


class Outbox(Protocol):
    """The pending notifications."""

    async def pending(self, sink: str, after: int, limit: int) -> list[Delivery]:
        """The notifications of this sink after the delivery `after`, oldest first."""

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Remove the delivered notifications."""

    async def trim(self, sink: str, most: int) -> int:
        """Keep the newest `most` of this sink. Returns the number of dropped ones."""


def sink_id(url: str) -> str:
    """The id of a sink in the store. It is a digest, because the URL may contain a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
