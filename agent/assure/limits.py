"""Every call passes here: a remote that does not drown the other side, nor believes it too easily.

`Limited` is a `Remote` before a `Remote`. What it lets through goes at once, and nobody waits for anybody else's call
[I9]; what it does not is *busy*: it did not happen. Who asks the `Gate` first does not even begin, and stays a row with
a time [I8]. What the brakes decide stands in `brakes.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from agent.assure.brakes import Breaker, Bucket, Cause, Opened, Seen
from agent.core.answer import Answer, Busy, Done, Evidence, Refused, Unknown
from agent.core.recovery import surprising
from agent.core.remote import (
    CaptureOptions,
    Depiction,
    DocumentType,
    DossierReading,
    ListedDossier,
    NewProcess,
    ProcessPage,
    ProcessReading,
    ProcessType,
    Status,
)
from agent.listeners import harmless
from agent.ports import Clock, Image, Remote, ResultReading

T = TypeVar("T")

UNSENT: Final = "not-sent"  # the cause of what was not let through
UNBELIEVED: Final = "not-believed"  # the cause of a 404 that is most likely another account's


class Turns:
    """The token bucket, for whoever sends something: each call, and each request for a token, waits its turn."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.bucket = Bucket(rate)
        self.waiting = 0
        self._clock = clock
        self._never = asyncio.Event()

    async def next(self, now: float | None = None) -> bool:
        """Return when it is our turn: True when it took time. `now` is the time, where the caller knows it."""
        now = self._clock.now() if now is None else now
        turn = self.bucket.turn(now)
        if turn <= now:
            return False
        self.waiting += 1
        try:
            await self._clock.wait(self._never, turn - now)
        finally:
            self.waiting -= 1
        return True


class Limited:
    """Implements `agent.ports.Remote` and `agent.ports.Gate`.

    `ours` tells a reference of this agent's. `told(opened)` hears when the circuit opens, and of None when it closes.
    `guard` has to run, or what opened stays open.
    """

    def __init__(
        self,
        remote: Remote,
        turns: Turns,
        clock: Clock,
        chance: Callable[[], float],
        ours: Callable[[str], bool],
        told: Callable[[Opened | None], None] = lambda opened: None,
    ) -> None:
        self._remote = remote
        self._turns = turns
        self._clock = clock
        self._chance = chance
        self._ours = ours
        self._told = harmless(told)
        self._breaker = Breaker()
        self._wake: Callable[[], None] = lambda: None
        self._opened = asyncio.Event()
        self._probes = 0
        self.probing = False

    # ---- the gate

    @property
    def opened(self) -> Opened | None:
        """The open circuit, if it is open."""
        return self._breaker.opened

    def shut(self, now: float) -> bool:
        """True while nothing is sent."""
        return self._breaker.shut(now)

    def room(self, now: float) -> float:
        """How many more calls may begin now."""
        return min(self._breaker.room(now), self._turns.bucket.room(now))

    def opens_at(self, now: float) -> float:
        """When another call may begin; infinity: whoever listens is told."""
        return max(self._breaker.opens_at(now), self._turns.bucket.opens_at(now))

    def listen(self, wake: Callable[[], None]) -> None:
        """Call this whenever the circuit opens or closes."""
        self._wake = wake

    def believe(self) -> None:
        """A person says: go on; what is missing is gone indeed."""
        before = self._breaker.opened
        self._breaker.believe(self._clock.now())
        self._changed(before)

    async def guard(self) -> None:
        """Send a probe now and then while the circuit is open. Runs until it is cancelled."""
        while True:
            opened = self._breaker.opened
            if opened is None:
                self._opened.clear()
                await self._clock.wait(self._opened, None)
                continue
            wait = opened.probe_at - self._clock.now()  # longer than its interval when the clock went back
            await self._clock.wait(asyncio.Event(), min(max(wait, 0.0), opened.interval))
            if self._breaker.opened is opened:
                await self._probe(opened)

    async def _probe(self, opened: Opened) -> None:
        self.probing = True
        try:
            well = await (self._seen_again() if opened.cause is Cause.MISSING else self._answered_again())
        finally:
            self.probing = False
        if self._breaker.opened is opened:
            self._breaker.probed(well, self._clock.now(), self._chance())
            self._changed(opened)

    async def _answered_again(self) -> bool:
        """One of two reads that touch nothing: if one of them alone is broken, the other tells."""
        self._probes += 1
        if self._probes % 2:
            return _seen(await self._remote.list_dossiers(), None, False) is Seen.WELL
        recent = await self._remote.list_processes(self._clock.now() - 3600.0, (), 0, 1)
        return _seen(recent, None, False) is Seen.WELL

    async def _seen_again(self) -> bool:
        """One of those that were missing is there, or some dossier of ours: the account is the right one."""
        self._probes += 1
        missing = [target for target in self._breaker.missing if target]
        if not missing:
            return isinstance(await self._remote.list_dossiers(), Done)
        if self._probes % 2:
            return isinstance(await self._remote.read_dossier(missing[self._probes // 2 % len(missing)]), Done)
        listed = await self._remote.list_dossiers()
        return isinstance(listed, Done) and any(row.reference and self._ours(row.reference) for row in listed.value)

    def _changed(self, before: Opened | None) -> None:
        after = self._breaker.opened
        if (before is None) != (after is None):
            self._opened.set()
            self._wake()
            self._told(after)

    # ---- one call

    async def _let(self, call: Callable[[], Awaitable[Answer[T]]], target: str | None, gone: bool = False) -> Answer[T]:
        """Send it, unless it has to wait. `target` is the dossier it is about; `gone`: a 404 is expected."""
        now = self._clock.now()
        if not self._breaker.shut(now) and await self._turns.next(now):
            now = self._clock.now()
        if self._breaker.shut(now):  # now, or since we began to wait
            wait = self._breaker.opens_at(now) - now
            return Busy(evidence=Evidence(cause=UNSENT), retry_after=None if self._breaker.opened else wait)
        self._breaker.begin()
        answer = await call()
        self._heard(_seen(answer, target, gone), answer, target)
        opened = self._breaker.opened
        missing = isinstance(answer, Refused) and answer.missing and target is not None and not gone
        if missing and opened is not None and opened.cause is Cause.MISSING:
            return Busy(evidence=replace(answer.evidence, cause=UNBELIEVED))
        return answer

    def _heard(self, seen: Seen, answer: Answer[T], target: str | None) -> None:
        now, before = self._clock.now(), self._breaker.opened
        if isinstance(answer, Busy | Unknown) and answer.retry_after is not None:
            self._breaker.pause(answer.retry_after, now)
        self._breaker.saw(seen, now, self._chance(), target or "")
        self._changed(before)

    # ---- the port

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers."""
        return await self._let(lambda: self._remote.create_dossier(reference), None)

    async def create_process(self, dossier_id: str, process_type: ProcessType, document_id: int) -> Answer[NewProcess]:
        """POST processes."""
        return await self._let(lambda: self._remote.create_process(dossier_id, process_type, document_id), dossier_id)

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture."""
        return await self._let(lambda: self._remote.start_capture(dossier_id, options), dossier_id)

    async def upload_images(self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]) -> Answer[None]:
        """POST images."""
        return await self._let(lambda: self._remote.upload_images(dossier_id, process_id, images), dossier_id)

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process."""
        return await self._let(lambda: self._remote.start_verification(dossier_id, process_id), dossier_id)

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process."""
        return await self._let(lambda: self._remote.read_process(dossier_id, process_id), dossier_id)

    async def read_result(self, dossier_id: str, process_id: str) -> Answer[ResultReading]:
        """GET process, with the claims of an accepted one."""
        return await self._let(lambda: self._remote.read_result(dossier_id, process_id), dossier_id)

    async def read_dossier(self, dossier_id: str, gone: bool = False) -> Answer[DossierReading]:
        """GET dossier."""
        return await self._let(lambda: self._remote.read_dossier(dossier_id, gone), dossier_id, gone)

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images."""
        return await self._let(lambda: self._remote.read_image(dossier_id, process_id, depiction), dossier_id)

    async def list_dossiers(self) -> Answer[tuple[ListedDossier, ...]]:
        """GET /dossiers."""
        return await self._let(self._remote.list_dossiers, None)

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes."""
        return await self._let(lambda: self._remote.list_processes(since, statuses, offset, limit), None)

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types."""
        return await self._let(self._remote.list_document_types, None)

    async def delete_dossier(self, dossier_id: str, gone: bool = False) -> Answer[None]:
        """DELETE dossier."""
        return await self._let(lambda: self._remote.delete_dossier(dossier_id, gone), dossier_id, gone)


def _seen(answer: Answer[T], target: str | None, gone: bool) -> Seen:
    """What an answer says beyond its own request."""
    evidence = answer.evidence
    missing = evidence.status == 404 and target is not None
    match answer:
        case Busy() if evidence.status == 404:
            return Seen.MISSING  # not even the path is there
        case Done():
            return Seen.WELL if target is None else Seen.TARGET
        case Refused() if evidence.cause == "invalid_client":
            return Seen.OUTAGE  # never sent: nothing can be, until a person mends it
        case Refused() if evidence.status is None:
            return Seen.NOTHING
        case Refused():
            return Seen.MISSING if missing and not gone else Seen.WELL
        case Unknown() if (
            evidence.cause == "error-body"
        ):  # a start believes no refusal; it is one of Assure's all the same
            return Seen.MISSING if missing else Seen.WELL
        case Unknown() if surprising(evidence):
            return Seen.NOTHING
    return Seen.OUTAGE
