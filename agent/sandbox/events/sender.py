"""Sends the events of the outbox, each in its own task, so that a slow receiver delays no other event."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx

from agent.sandbox.events.outbox import Delivery, Outbox

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]

AT_ONCE = 32  # connections to receivers


async def wait(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after the given seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class EventSender:
    """The sender of one outbox. `clock` returns epoch seconds and `wait` waits. `sending`: the number of open
    deliveries.

    `transport` replaces sockets.
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
        self._in_flight: set[asyncio.Task[None]] = set()
        outbox.changed = self._wake.set

    @property
    def sending(self) -> int:
        """The number of deliveries without an answer."""
        return len(self._in_flight)

    async def run(self) -> None:
        """Send until cancelled. Cancellation aborts open deliveries."""
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(limits=limits, trust_env=False, transport=self._transport) as http:
            try:
                while True:
                    self._wake.clear()
                    for delivery in self._outbox.due():
                        task = asyncio.create_task(self._send(http, delivery))
                        self._in_flight.add(task)
                        task.add_done_callback(self._in_flight.discard)
                    at = self._outbox.next_at()
                    await self._wait(self._wake, None if at is None else max(0.0, at - self._clock()))
            finally:
                for task in self._in_flight:
                    task.cancel()
                await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _send(self, http: httpx.AsyncClient, delivery: Delivery) -> None:
        """Make one attempt and report its result to the outbox."""
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
