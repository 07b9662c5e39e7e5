"""Assure Events: the events of finished processes and their retries until acknowledgement (contract §11).

Facts: the nine fields of the envelope, the name `process.complete`, the reference in eventData, tags from eventTags,
and no retry after `expiresAt`. Choices: the rest of eventData, the sender, the pace of retries (`Subscription`).

The outbox has no timers. The world reports the times of future changes (`awaited`), `due` returns the deliveries to
send by now, and `answered` records the result. `sender` waits and sends. Scripted faults (`faults`, operation `event`)
drop, double, delay and reorder events. A stop of the simulator loses deliveries in progress. A process that finishes
while the simulator is down causes no event, so the client must poll.
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
    """One event on its way to one subscription. A doubled event has two of them. `at`: when the next attempt is due."""

    entry: EventEntry
    subscription: Subscription
    content: bytes = field(repr=False)
    at: float
    expires_at: float
    attempts: int = 0


class Outbox:
    """The events of one world. It calls `changed` when it may have work before the time that `next_at` returned."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.subscription: Subscription | None = None
        self.changed: Callable[[], None] = lambda: None
        self._world = world
        self._faults = faults
        self._numbers = itertools.count()
        self._awaited: list[tuple[float, str]] = []
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._held: list[Delivery] = []
        world.awaited_processes = self._watch_process

    def subscribe(self, subscription: Subscription | None) -> None:
        """Send events of processes that finish from now on to this subscription, or send none. Deliveries in progress
        continue."""
        self.subscription = subscription
        self._awaited.clear()
        if subscription is not None:
            for at, process_id in self._world.coming():
                self._watch_process(at, process_id)
        self.changed()

    def next_at(self) -> float | None:
        """The time at which `due` will have work, or None."""
        heads = [heap[0][0] for heap in (self._awaited, self._waiting) if heap]
        return min([*heads, *(delivery.at for delivery in self._held)], default=None)

    def due(self) -> list[Delivery]:
        """Create the events of processes that finished, and return the deliveries to send."""
        now = self._world.now()  # simulated end users act, so more processes may be awaited
        while self._awaited and self._awaited[0][0] <= now:
            _, process_id = heapq.heappop(self._awaited)
            if self.subscription is not None and process_id in self._world.processes:
                self._make_event(self.subscription, self._world.processes[process_id], now)
        for delivery in [held for held in self._held if held.at <= now]:
            self._release(delivery)
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(heapq.heappop(self._waiting)[2])
        return found

    def answered(self, delivery: Delivery, answer: int | str) -> None:
        """Record the status or the error of a delivery. Release the event that waited for it."""
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

    def _watch_process(self, at: float, process_id: str) -> None:
        if self.subscription is not None:
            heapq.heappush(self._awaited, (at, process_id))
            self.changed()

    def _make_event(self, subscription: Subscription, process: Process, now: float) -> None:
        """Create the event and apply its fault."""
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
        """Schedule the next attempt after twice the last delay, but never after expiresAt."""
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
    """The nine fields (contract §11). All of eventData except the reference is inferred."""
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
    """Seven fractional digits, as in the vendor's events (contract §11)."""
    whole, parts = divmod(round(epoch * 10_000_000), 10_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{parts:07d}Z"
