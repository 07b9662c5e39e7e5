"""The HTTP services of the agent: LISTEN, EVENTS_LISTEN, and the dispatchers of the sinks."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from agent.assure.account import sink_name
from agent.platform.endpoint_health import EndpointHealth
from agent.platform.file_descriptors import connections_per_listener, open_file_limit, required_limit
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.proxy import Proxy
from agent.platform.settings import Settings, secrets_of
from agent.platform.settings_types import signing_keys
from agent.platform.tls import tls_context
from agent.ports import Clock, DeliverEvent
from agent.ports.duties import TURN_OF_SINK
from agent.ports.sink import sink_id
from agent.store.contract import Store
from agent.web import assure_events, source_hook
from agent.web.agent_status import AgentStatus
from agent.web.api import Api
from agent.web.assure_events import AssureEventEndpoint, EventSignature
from agent.web.dispatcher import Dispatcher
from agent.web.health_endpoints import health_routes
from agent.web.read_pool import ReadPool
from agent.web.server import application, serve
from agent.web.sessions import Sessions
from agent.web.source_hook import SourceHookEndpoint
from agent.web.status_page import StatusPage

_FINAL_ROUND_TIMEOUT = 3.0  # seconds for a last delivery at shutdown
_FAULT_PAUSE = 60.0
_LARGEST_BODY = {  # on EVENTS_LISTEN
    **dict.fromkeys(assure_events.PATHS, assure_events.MAX_BODY_BYTES),
    **dict.fromkeys(source_hook.PATHS, source_hook.MAX_BODY_BYTES),
}
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}

if TYPE_CHECKING:
    from agent.web.cloudevents import HttpSink


def sink_ids(settings: Settings) -> list[str]:
    """The ids of the sinks in the store."""
    return [sink_id(url) for url in settings.sink_urls]


class HttpService:
    """Serves and delivers while `running`.

    `fetch_now` makes the agent fetch its git source; None for a folder. `on_error` receives errors of the dispatchers.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        status: AgentStatus,
        endpoints: EndpointHealth,
        deliver: DeliverEvent,
        fetch_now: Callable[[], None] | None,
        chance: Callable[[], float],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._status = status
        self._deliver_observations = deliver
        self._fetch_now = fetch_now
        self._on_error = on_error
        self._connections = connections_per_listener(settings.concurrency)
        self._sessions = Sessions()
        clock, agent_id = status.clock, settings.agent_id or store.keys.agent_id()
        self._sinks = _sinks(settings, agent_id, clock, endpoints) if settings.sink_urls else []
        self._dispatchers = [
            Dispatcher(name, sink, store.outbox, clock, chance, metrics.delivered, turn=_turn(store, name))
            for name, sink in zip(sink_ids(settings), self._sinks, strict=True)
        ]

    def wake(self) -> None:
        """A change was committed: there may be new notifications."""
        for deliverer in self._dispatchers:
            deliverer.wake()

    def page_link(self, url: str) -> str:
        """A new one-time link to the status page; `url` is that of LISTEN. A bearer secret."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host != "localhost":  # the page accepts no other Host, so the link needs the address
            with contextlib.suppress(OSError, ValueError):  # a broken link has no other effect
                address = ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host)
                host = _LOOPBACK[address.version] if address.is_unspecified else str(address)
        return self._sessions.link(f"http://{f'[{host}]' if ':' in host else host}:{parts.port}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, str | None]]:
        """Serve and deliver while the block runs. Yields the URLs of LISTEN and EVENTS_LISTEN (None: not served)."""
        calls = self._settings.concurrency
        if open_file_limit() < required_limit(calls):
            needed = required_limit(calls)
            hint = f"raise it to at least {needed} (LimitNOFILE, ulimit -n), or lower ASSURE_AGENT_CONCURRENCY"
            logger().warning("the limit of open files is low", count=open_file_limit(), hint=hint)
        read_pool = ReadPool(self._settings, self._store.refuse_away)
        host, port = self._settings.address
        try:
            dropped = partial(self._metrics.dropped, "listen")
            served = serve(self._application(read_pool), host, port, most=self._connections, dropped=dropped)
            async with served as url, self._serve_events() as events, self._run_dispatchers():
                yield url, events
        finally:
            read_pool.close()

    def _application(self, read_pool: ReadPool) -> Starlette:
        token = self._settings.api_token.get_secret_value()
        page = StatusPage(token, self._status, read_pool, self._sessions)
        return application(
            [
                *health_routes(self._metrics.registry, self._status.ready),
                *Api(token, self._settings.source_name, read_pool, self._store.epoch).routes(),
                *page.routes(),
            ],
            page.unknown,
        )

    @contextlib.asynccontextmanager
    async def _serve_events(self) -> AsyncIterator[str | None]:
        """Serve the paths of EVENTS_LISTEN whose secret is set."""
        routes = self._event_routes()
        if not routes:
            yield None
            return
        host, port = self._settings.events_address
        dropped = partial(self._metrics.dropped, "events_listen")
        app, most = application(routes), self._connections
        async with serve(app, host, port, "EVENTS_LISTEN", most, _LARGEST_BODY, dropped) as url:
            yield url

    def _event_routes(self) -> list[BaseRoute]:
        settings, routes = self._settings, list[BaseRoute]()
        if secrets := secrets_of(settings.events_secret):
            signature = EventSignature(
                secrets=secrets,
                header=settings.events_signature_header,
                encoding=settings.events_signature_encoding,
                prefix=settings.events_signature_prefix,
            )
            inbox, deliver, clock = self._store.inbox, self._deliver_observations, self._status.clock
            events = AssureEventEndpoint(
                signature, inbox, deliver, clock, self._metrics.received, self._store.refuse_away
            )
            routes += events.routes()
        if self._fetch_now is not None and (secrets := secrets_of(settings.source_hook_secret)):
            routes += SourceHookEndpoint(secrets, self._fetch_now, self._metrics.hook_received).routes()
        return routes

    @contextlib.asynccontextmanager
    async def _run_dispatchers(self) -> AsyncIterator[None]:
        """Drop notifications of sinks that are no longer configured. At shutdown, deliver once more."""
        if dropped := await self._store.outbox.keep_only(sink_ids(self._settings)):
            self._metrics.delivered("dropped", dropped)
        tasks = [asyncio.create_task(self._run_dispatcher(deliverer)) for deliverer in self._dispatchers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            rounds = [
                asyncio.wait_for(deliverer.dispatch_once(), _FINAL_ROUND_TIMEOUT) for deliverer in self._dispatchers
            ]
            await asyncio.gather(*rounds, return_exceptions=True)
            for sink in self._sinks:
                await sink.aclose()

    async def _run_dispatcher(self, dispatcher: Dispatcher) -> None:
        while True:
            try:
                await dispatcher.run()
            except Exception as error:  # a bug, or an unreadable store: the rest of the agent continues [I9]
                self._on_error(error)
                await self._status.clock.wait(asyncio.Event(), _FAULT_PAUSE)


def _turn(store: Store, sink: str) -> Callable[[], Awaitable[bool]] | None:
    """Takes or keeps the turn to deliver to a sink. None: no other replica can have it."""
    return partial(store.hold_turn, TURN_OF_SINK.format(sink)) if store.shared else None


def _sinks(settings: Settings, agent_id: str, clock: Clock, endpoints: EndpointHealth) -> "list[HttpSink]":
    """The configured sinks. Only they need httpx, so it is imported here."""
    from agent.web.cloudevents import HttpSink

    keys = signing_keys(settings.sink_secret.get_secret_value())
    tls = tls_context(settings.ca_file)
    return [
        HttpSink(url, keys, agent_id, clock, partial(endpoints.record, sink_name(url)), tls, _proxy_to(settings, url))
        for url in settings.sink_urls
    ]


def _proxy_to(settings: Settings, url: str) -> Proxy | None:
    parts = urlsplit(url)
    return settings.proxy_to(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
