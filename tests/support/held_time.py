"""Virtual time is held while an agent waits for a real socket or another process."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any
from unittest import mock

from agent.admission.revision_sync import RevisionSync
from agent.controller.result_poller import ResultPoller
from agent.daemon.clock_correction import ClockCorrector
from agent.store.postgres.persistence import Persistence
from agent.web.dispatcher import Dispatcher
from tests.support.clock import VirtualClock


@contextlib.contextmanager
def asking(clock: VirtualClock) -> Iterator[None]:
    """Hold time while a database is asked, on a real socket. SQLite answers without a wait."""
    statements = 0
    ask = Persistence.ask

    async def counted(persistence: Persistence, *arguments: Any, **options: Any) -> Any:
        nonlocal statements
        statements += 1
        try:
            return await ask(persistence, *arguments, **options)
        finally:
            statements -= 1

    with mock.patch.object(Persistence, "ask", counted), clock.watch(lambda: statements, loop=False):
        yield


@contextlib.contextmanager
def watching(clock: VirtualClock, observer: ResultPoller, loop: bool = False) -> Iterator[None]:
    """Hold time while the list of finished processes is on the wire. `loop`: its loop runs all the time."""
    polls = 0
    observe = observer.poll

    async def counted() -> int:
        nonlocal polls
        polls += 1
        try:
            return await observe()
        finally:
            polls -= 1

    observer.poll = counted  # type: ignore[method-assign]
    with clock.watch(lambda: polls, loop):
        yield


@contextlib.contextmanager
def delivering(clock: VirtualClock, deliverer: Dispatcher) -> Iterator[None]:
    """Hold time while events are on the wire to a sink. Its loop runs all the time."""
    rounds = 0
    round_ = deliverer.dispatch_once

    async def counted() -> None:
        nonlocal rounds
        rounds += 1
        try:
            await round_()
        finally:
            rounds -= 1

    deliverer.dispatch_once = counted  # type: ignore[method-assign]
    with clock.watch(lambda: rounds):
        yield


@contextlib.contextmanager
def timekeeping(clock: VirtualClock, keeper: ClockCorrector) -> Iterator[None]:
    """Hold time while the agent asks Assure for the time, and while it makes a correction."""
    turns = 0
    turn, settle = keeper._run_once, keeper._request_date

    async def counted(of: Callable[..., Coroutine[Any, Any, Any]], **how: Any) -> Any:
        nonlocal turns
        turns += 1
        try:
            return await of(**how)
        finally:
            turns -= 1

    keeper._run_once = partial(counted, turn)  # type: ignore[method-assign]
    keeper._request_date = partial(counted, settle)  # type: ignore[method-assign]
    with clock.watch(lambda: turns):
        yield


@contextlib.contextmanager
def fetching(clock: VirtualClock, revisions: RevisionSync) -> Iterator[None]:
    """Hold time while a git source is fetched and scanned."""
    syncs = 0
    sync = revisions.sync

    async def counted() -> None:
        nonlocal syncs
        syncs += 1
        try:
            await sync()
        finally:
            syncs -= 1

    revisions.sync = counted  # type: ignore[method-assign]
    with clock.watch(lambda: syncs):
        yield
