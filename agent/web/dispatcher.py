"""The outbox dispatcher: sends the notifications of one sink at least once, in order for each request.

The outbox is written in the transaction of the change [I4], and no other loop waits for a sink [I9]. A failed
notification delays only the later ones of its request, with growing pauses. After failures of several requests in a
row the sink counts as down, and gets one attempt at a time. The outbox keeps the newest BACKLOG notifications of a
sink. Older ones are dropped and counted; the receiver then reads the API.

Of several replicas, one has the turn to deliver to a sink. After its death, another one may repeat its last
notifications: their ids are equal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agent.platform.callbacks import isolated
from agent.ports import Clock, Delivery, Outbox, Sink

BACKLOG = 100_000  # pending notifications of one sink
_AT_ONCE = 16  # requests with a delivery in flight to one sink
_PAGE = 256  # notifications read at a time
_DOWN_THRESHOLD = 3  # failed requests in a row: the sink is down
_SHARED_PAUSE = 1.0  # seconds until the outbox is read again, if other replicas write to it
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # seconds between two attempts


class Dispatcher:
    """Sends to one sink. The last argument receives a result (delivered, failed, dropped) and its count."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        outbox: Outbox,
        clock: Clock,
        chance: Callable[[], float],
        on_result: Callable[[str, int], None] = lambda result, number: None,
        backlog: int = BACKLOG,
        turn: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`turn` takes or keeps the turn of the sink. None: no other replica delivers."""
        self._turn = turn
        self._name = name
        self._sink = sink
        self._outbox = outbox
        self._clock = clock
        self._chance = chance
        self._on_result = isolated(on_result)
        self._backlog = backlog
        self._wake_event = asyncio.Event()
        self._retries: dict[str, tuple[int, float]] = {}  # uid -> failures in a row, time of the next attempt
        self._failing: set[str] = set()  # uids with a failure since the last success
        self._failures = 0  # since the last success

    @property
    def sink_down(self) -> bool:
        """True while the sink counts as down."""
        return len(self._failing) >= _DOWN_THRESHOLD

    def wake(self) -> None:
        """There are new notifications."""
        self._wake_event.set()

    async def run(self) -> None:
        """Deliver until cancelled. An interrupted delivery is repeated."""
        while True:
            self._wake_event.clear()
            await self.dispatch_once()
            if self.sink_down:  # new notifications do not shorten the pause
                await self._clock.wait(asyncio.Event(), _pause(self._failures, self._chance()))
            else:
                await self._clock.wait(self._wake_event, self._seconds_to_next_attempt())

    async def dispatch_once(self) -> None:
        """Send all due notifications once. While the sink is down, only those of one request."""
        if self._turn is not None and not await self._turn():
            return
        after, met = 0, set[str]()
        while page := await self._outbox.pending(self._name, after, _PAGE):
            chains = self._due(page)
            tried = await self._send(chains[:1] if self.sink_down else chains)
            if self.sink_down and chains:
                if dropped := await self._outbox.trim(self._name, self._backlog):
                    self._on_result("dropped", dropped)
                return
            if tried < len(chains):
                continue  # the sink is up again: send the rest of this page
            met |= {delivery.uid for delivery in page}
            after = page[-1].id
            await asyncio.sleep(0)
        self._retries = {uid: found for uid, found in self._retries.items() if uid in met}

    def _due(self, page: Sequence[Delivery]) -> list[list[Delivery]]:
        """The notifications by request, in order, without the requests that wait for their next attempt."""
        now = self._clock.now()
        chains: dict[str, list[Delivery]] = {}
        for delivery in page:
            # A retry beyond the longest pause means that the clock was set back.
            if not now < self._retries.get(delivery.uid, (0, 0.0))[1] <= now + _LONGEST_PAUSE:
                chains.setdefault(delivery.uid, []).append(delivery)
        return list(chains.values())

    async def _send(self, chains: Sequence[Sequence[Delivery]]) -> int:
        """Send these notifications. Returns the number of attempts before the sink counted as down."""
        places = asyncio.Semaphore(_AT_ONCE)
        probe = self.sink_down
        tried, taken = 0, list[int]()

        async def sent(chain: Sequence[Delivery]) -> None:
            nonlocal tried
            async with places:
                if probe or not self.sink_down:
                    tried += 1
                    taken.extend(await self._send_in_order(chain))

        await asyncio.gather(*map(sent, chains))
        if taken:
            await self._outbox.acknowledge(taken)
            self._on_result("delivered", len(taken))
        return tried

    async def _send_in_order(self, chain: Sequence[Delivery]) -> list[int]:
        """Send the notifications of one request in order, up to the first failure. Returns the delivered ids."""
        taken = []
        for delivery in chain:
            if not await self._sink.send(delivery):
                self._on_result("failed", 1)
                self._record_failure(delivery.uid)
                break
            self._retries.pop(delivery.uid, None)
            self._failing.clear()
            self._failures = 0
            taken.append(delivery.id)
        return taken

    def _record_failure(self, uid: str) -> None:
        failures = self._retries.get(uid, (0, 0.0))[0] + 1
        self._retries[uid] = failures, self._clock.now() + _pause(failures, self._chance())
        self._failing.add(uid)
        self._failures += 1

    def _seconds_to_next_attempt(self) -> float | None:
        """Seconds until the next attempt. None if only new notifications can cause one."""
        times = [at for _, at in self._retries.values()]
        if self._turn is not None:  # another replica adds notifications, or ends
            times.append(self._clock.now() + _SHARED_PAUSE)
        return min(max(0.0, min(times) - self._clock.now()), _LONGEST_PAUSE) if times else None


def _pause(failures: int, chance: float) -> float:
    """Seconds to wait after `failures`: exponential, capped, with up to half of it as jitter."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (1 - chance / 2)
