"""The deliver loop: what the outbox owes a sink is sent, at least once, in order for each request.

It stands beside the other loops and never in their way: the outbox is written with the change [I4], and nobody waits
for a sink [I9]. A notice that is not taken keeps only its own request waiting, in growing pauses; when those of several
requests in a row are not taken, the sink counts as down and gets one try at a time. What a sink is owed is bounded: the
newest BACKLOG notices are kept, older ones are dropped and counted; whoever was away for that long reads the API.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from agent.platform.callbacks import harmless
from agent.ports import Clock, Delivery, Sink

BACKLOG = 100_000  # notices that one sink may be owed
_AT_ONCE = 16  # requests whose notices are on the way to one sink
_PAGE = 256  # notices read at a time
_SEVERAL = 3  # requests in a row whose notices are not taken: the sink is down
_FIRST, _LONGEST = 1.0, 300.0  # seconds between two tries


class Outbox(Protocol):
    """What is still to be told."""

    def owed(self, sink: str, after: int, limit: int) -> list[Delivery]:
        """What this sink is owed, oldest first, beyond the delivery `after`."""

    async def taken(self, ids: Sequence[int]) -> None:
        """The sink has them; they are owed no more."""

    async def trim(self, sink: str, most: int) -> int:
        """Keep the newest `most` of this sink; returns how many older ones were dropped."""


class Deliverer:
    """Sends to one sink. `counted(result, number)` hears of what was delivered, failed or dropped."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        outbox: Outbox,
        clock: Clock,
        chance: Callable[[], float],
        counted: Callable[[str, int], None] = lambda result, number: None,
        backlog: int = BACKLOG,
    ) -> None:
        self._name = name
        self._sink = sink
        self._outbox = outbox
        self._clock = clock
        self._chance = chance
        self._counted = harmless(counted)
        self._backlog = backlog
        self._woken = asyncio.Event()
        self._refused: dict[str, tuple[int, float]] = {}  # uid -> failures in a row, when to try again
        self._failing: set[str] = set()  # uids whose notices failed since one was taken
        self._failures = 0  # since one was taken

    @property
    def down(self) -> bool:
        """True while the sink takes nothing."""
        return len(self._failing) >= _SEVERAL

    def wake(self) -> None:
        """There is something to tell."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled. A delivery that is cut off is sent again."""
        while True:
            self._woken.clear()
            await self.round()
            if self.down:  # news does not hurry it
                await self._clock.wait(asyncio.Event(), _pause(self._failures, self._chance()))
            else:
                await self._clock.wait(self._woken, self._until_next())

    async def round(self) -> None:
        """Try once what is due; only one request of it while the sink is down."""
        after, met = 0, set[str]()
        while page := self._outbox.owed(self._name, after, _PAGE):
            chains = self._due(page)
            tried = await self._send(chains[:1] if self.down else chains)
            if self.down and chains:
                if dropped := await self._outbox.trim(self._name, self._backlog):
                    self._counted("dropped", dropped)
                return
            if tried < len(chains):
                continue  # it is up again: the rest of this page
            met |= {delivery.uid for delivery in page}
            after = page[-1].id
            await asyncio.sleep(0)
        self._refused = {uid: found for uid, found in self._refused.items() if uid in met}

    def _due(self, page: Sequence[Delivery]) -> list[list[Delivery]]:
        """The notices by request, each in order; without the requests whose time has not come."""
        now = self._clock.now()
        chains: dict[str, list[Delivery]] = {}
        for delivery in page:
            if (
                not now < self._refused.get(delivery.uid, (0, 0.0))[1] <= now + _LONGEST
            ):  # beyond: the clock was set back
                chains.setdefault(delivery.uid, []).append(delivery)
        return list(chains.values())

    async def _send(self, chains: Sequence[Sequence[Delivery]]) -> int:
        """Send these; how many of them were tried before the sink counted as down."""
        places = asyncio.Semaphore(_AT_ONCE)
        probe = self.down
        tried, taken = 0, list[int]()

        async def sent(chain: Sequence[Delivery]) -> None:
            nonlocal tried
            async with places:
                if probe or not self.down:
                    tried += 1
                    taken.extend(await self._chain(chain))

        await asyncio.gather(*map(sent, chains))
        if taken:
            await self._outbox.taken(taken)
            self._counted("delivered", len(taken))
        return tried

    async def _chain(self, chain: Sequence[Delivery]) -> list[int]:
        """Send the notices of one request in order, up to the first that is not taken; the ids of those taken."""
        taken = []
        for delivery in chain:
            if not await self._sink.send(delivery):
                self._counted("failed", 1)
                self._failed(delivery.uid)
                break
            self._refused.pop(delivery.uid, None)
            self._failing.clear()
            self._failures = 0
            taken.append(delivery.id)
        return taken

    def _failed(self, uid: str) -> None:
        failures = self._refused.get(uid, (0, 0.0))[0] + 1
        self._refused[uid] = failures, self._clock.now() + _pause(failures, self._chance())
        self._failing.add(uid)
        self._failures += 1

    def _until_next(self) -> float | None:
        """Seconds until the next try that is due; None: until there is something to tell."""
        times = [at for _, at in self._refused.values()]
        return min(max(0.0, min(times) - self._clock.now()), _LONGEST) if times else None


def _pause(failures: int, chance: float) -> float:
    """Seconds after so many failures: doubled each time, capped, up to half of it by chance."""
    longest = min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, 30))
    return longest * (1 - chance / 2)
