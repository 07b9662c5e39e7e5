"""Assure Events: what is told when a process finishes, when, and again until it is acknowledged (contract §11).

Facts: the nine fields of the envelope, the name `process.complete`, the reference in eventData, tags from eventTags, no
retry after `expiresAt`. Choices: what else eventData holds, the sender, the pace of retries (`Subscription`).

No timers here: the world says when something will have happened (`awaited`), `due` gives out what is to be sent by now,
and `answered` hears what came of it; `courier` lets the time pass and sends. Scripted trouble (`faults`, operation
`event`) drops, doubles, delays and reorders. What is under way when the simulator stops is lost, and what finishes
while it is down is never told: polling is there for that.
"""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from agent.sandbox import outcome
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.faults.rules import Faults, Kind
from agent.sandbox.ledger import EventEntry
from agent.sandbox.model import PROVIDER, Dossier, Json, Operation, Process, stamp
from agent.sandbox.world import World

COMPLETE = "process.complete"
SENDER = "assure"
ACCOUNT = "a-spge-sandbox"


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event on its way to one subscription. Doubled events have two of them. `at` is when it is sent next."""

    entry: EventEntry
    subscription: Subscription
    content: bytes = field(repr=False)
    at: float
    expires_at: float
    attempts: int = 0


class Outbox:
    """The events of one world. `changed` is called when there may be something to do earlier than `next_at` said."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.subscription: Subscription | None = None
        self.changed: Callable[[], None] = lambda: None
        self._world = world
        self._faults = faults
        self._numbers = itertools.count()
        self._awaited: list[tuple[float, str]] = []
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._held: list[Delivery] = []
        world.awaited = self._await

    def subscribe(self, subscription: Subscription | None) -> None:
        """Tell this one from now on, or nobody: of whatever finishes later. What is under way goes on."""
        self.subscription = subscription
        self._awaited.clear()
        if subscription is not None:
            for at, process_id in self._world.coming():
                self._await(at, process_id)
        self.changed()

    def next_at(self) -> float | None:
        """When `due` will have something to do, or None while nothing is known."""
        heads = [heap[0][0] for heap in (self._awaited, self._waiting) if heap]
        return min([*heads, *(delivery.at for delivery in self._held)], default=None)

    def due(self) -> list[Delivery]:
        """Make the events of what has finished by now, and give out what is to be sent."""
        now = self._world.now()  # simulated persons act, and so more may be awaited
        while self._awaited and self._awaited[0][0] <= now:
            _, process_id = heapq.heappop(self._awaited)
            if self.subscription is not None and process_id in self._world.processes:
                self._tell(self.subscription, self._world.processes[process_id], now)
        for delivery in [held for held in self._held if held.at <= now]:
            self._release(delivery)
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(heapq.heappop(self._waiting)[2])
        return found

    def answered(self, delivery: Delivery, answer: int | str) -> None:
        """A delivery was answered with that status, or not at all and why. What is held back for it goes now."""
        now = self._world.clock()
        delivery.attempts += 1
        delivery.entry.attempts.append({"at": stamp(now), "answer": answer})
        if isinstance(answer, int) and 200 <= answer < 300:
            delivery.entry.state = "acknowledged"
        else:
            self._retry(delivery, now)
        for held in [held for held in self._held if held.entry is not delivery.entry]:
            held.at = now
            self._release(held)
        self._world.changes += 1
        self.changed()

    def _await(self, at: float, process_id: str) -> None:
        if self.subscription is not None:
            heapq.heappush(self._awaited, (at, process_id))
            self.changed()

    def _tell(self, subscription: Subscription, process: Process, now: float) -> None:
        """Make the event, and let it meet its trouble."""
        status = process.status(now)
        by_request = process.verdict is not None and process.verdict.fail_reason == outcome.BY_REQUEST
        if (status == "canceled" and not subscription.when_canceled) or (
            by_request and not subscription.when_failed_by_request
        ):
            return
        dossier = self._world.dossiers[process.dossier_id]
        trouble = self._faults.decide(Operation.EVENT)
        kind = trouble.rule.kind if trouble.rule else None
        expires_at = now + subscription.lifetime
        event_id = self._world.new_id().replace("-", "")
        entry = EventEntry(
            event_id=event_id,
            dossier_id=dossier.dossier_id,
            process_id=process.process_id,
            reference=dossier.reference,
            status=status,
            made_at=now,
            expires_at=expires_at,
            trouble=[*(["latency"] if trouble.latency else []), *([str(kind)] if kind else [])],
            state="dropped" if kind is Kind.DROP else "under-way",
        )
        self._world.ledger.events.append(entry)
        self._world.changes += 1
        content = orjson.dumps(_envelope(event_id, process, dossier, now, expires_at))
        copies = {Kind.DROP: 0, Kind.DOUBLE: 2}.get(kind, 1) if kind else 1
        for _ in range(copies):
            delivery = Delivery(
                entry=entry,
                subscription=subscription,
                content=content,
                at=now + trouble.latency,
                expires_at=expires_at,
            )
            if trouble.rule and kind is Kind.REORDER:
                delivery.at += trouble.rule.seconds
                self._held.append(delivery)
            else:
                self._queue(delivery)

    def _retry(self, delivery: Delivery, now: float) -> None:
        """Once more, twice as late as the last time, but never after expiresAt."""
        delivery.at = now + delivery.subscription.first_retry * 2 ** (delivery.attempts - 1)
        if delivery.at < delivery.expires_at:
            self._queue(delivery)
        elif delivery.entry.state == "under-way":
            delivery.entry.state = "expired"

    def _release(self, delivery: Delivery) -> None:
        self._held.remove(delivery)
        self._queue(delivery)

    def _queue(self, delivery: Delivery) -> None:
        heapq.heappush(self._waiting, (delivery.at, next(self._numbers), delivery))


def _envelope(event_id: str, process: Process, dossier: Dossier, now: float, expires_at: float) -> Json:
    """The nine fields (contract §11). eventData besides the reference is inferred."""
    reference = {} if dossier.reference is None else {"externalReference": dossier.reference}
    return {
        "id": event_id,
        "timestamp": _stamp(now),
        "sender": SENDER,
        "eventName": COMPLETE,
        "eventData": {
            "dossierId": dossier.dossier_id,
            "processId": process.process_id,
            "status": process.status(now),
            "provider": PROVIDER,
            "processType": process.process_type,
            **reference,
        },
        "accountId": ACCOUNT,
        "organizationId": None,
        "expiresAt": _stamp(expires_at),
        "tags": process.tags,
    }


def _stamp(epoch: float) -> str:
    """Seven fractional digits, as events have them (contract §11)."""
    whole, parts = divmod(round(epoch * 10_000_000), 10_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{parts:07d}Z"
