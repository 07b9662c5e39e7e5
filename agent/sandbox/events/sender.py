"""Sends the events that the outbox gives out, each in a task of its own, so that a slow receiver delays no other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx

from agent.sandbox.events.outbox import Delivery, Outbox

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]

AT_ONCE = 32  # connections to receivers


async def wait(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after the seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Courier:
    """`clock` gives epoch seconds and `wait` lets them pass; `sending` is how many deliveries are on the wire.

    `transport` goes in the place of sockets.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Callable[[], float],
        wait: Wait = wait,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._wait = wait
        self._transport = transport
        self._wake = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        outbox.changed = self._wake.set

    @property
    def sending(self) -> int:
        """How many deliveries have not been answered yet."""
        return len(self._under_way)

    async def run(self) -> None:
        """Send until cancelled; what is under way then is cut."""
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(limits=limits, trust_env=False, transport=self._transport) as http:
            try:
                while True:
                    self._wake.clear()
                    for delivery in self._outbox.due():
                        task = asyncio.create_task(self._send(http, delivery))
                        self._under_way.add(task)
                        task.add_done_callback(self._under_way.discard)
                    at = self._outbox.next_at()
                    await self._wait(self._wake, None if at is None else max(0.0, at - self._clock()))
            finally:
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, http: httpx.AsyncClient, delivery: Delivery) -> None:
        """One attempt; whatever comes of it is heard by the outbox."""
        subscription = delivery.subscription
        timeout = httpx.Timeout(subscription.timeout, pool=None)
        try:
            response = await http.post(
                subscription.url,
                content=delivery.content,
                headers=subscription.headers(delivery.content),
                timeout=timeout,
            )
            answer: int | str = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answer = type(error).__name__
        self._outbox.answered(delivery, answer)
