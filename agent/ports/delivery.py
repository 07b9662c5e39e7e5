"""The port to the owner of the records, for new requests and observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agent.core.observations import Observation
    from agent.core.record import Record
    from agent.ports.store import Receipt


class DeliverEvent(Protocol):
    """Delivers observations of an Assure event. See `agent.controller.reconciler.Reconciler.deliver`."""

    async def __call__(
        self, observations: Mapping[str, Observation], /, *, durable: bool = True, receipt: Receipt | None = None
    ) -> Collection[str]:
        """Deliver the observations; commit the receipt with their steps. Returns the uids without delivery."""


class RecordPort(Protocol):
    """The owner of the records: the reconciler, or the store alone while no agent runs."""

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests, in one transaction."""

    async def deliver(self, observations: Mapping[str, Observation], /) -> Collection[str]:
        """Deliver observations to records, by uid. Returns the uids of records that changed again and again.

        These records did not receive their observation. The caller delivers it again later, or reports it.
        """

    def retract(self, uid: str, observation: Observation) -> bool:
        """Take an observation back. True: it was still queued behind a call, and has no effect."""
