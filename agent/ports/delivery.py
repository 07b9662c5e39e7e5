"""How the controller receives observations that it did not cause itself."""

from collections.abc import Mapping
from typing import Protocol

from agent.core.observations import Observation
from agent.ports.store import Receipt


class Deliver(Protocol):
    """Delivers observations to records."""

    async def __call__(
        self, observations: Mapping[str, Observation], *, durable: bool = True, receipt: Receipt | None = None
    ) -> None:
        """Deliver observations by uid. See `agent.controller.reconciler.Reconciler.deliver`."""
