"""Every call passes here: a remote that does not drown the other side, nor believes it too easily.

`Limited` is a `Remote` before a `Remote`. What it lets through goes at once, and nobody waits for anybody else's call
[I9]; what it does not is *busy*: it did not happen. Who asks the `Gate` first does not even begin, and stays a row with
a time [I8]. What the brakes decide stands in `brakes.py`.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from agent.assure.circuit_breaker import Breaker, Cause, Opened, Seen, TokenCircuit
from agent.assure.rate_limit import Turns
from agent.assure.token import TokenAnswer
from agent.core.answer import (
    NEW_TOKENS_REFUSED,
    NOT_SENT,
    UNACCEPTED,
    Answer,
    Busy,
    Done,
    Evidence,
    Refused,
    Trouble,
    Unknown,
)
from agent.core.assure_types import (
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
from agent.core.classify import LONGEST_PAUSE, NOT_ACTED
from agent.core.retry import surprising
from agent.platform.callbacks import harmless
from agent.ports import Clock, Image, Remote, ResultReading

T = TypeVar("T")

UNBELIEVED: Final = "not-believed"  # the cause of a 404 that is most likely another account's
LISTS: Final = 3  # times that a list is asked for at once
_ACCOUNT: Final = {
    Seen.MISSING: Cause.MISSING,
    Seen.FORBIDDEN: Cause.CREDENTIALS,
    Seen.OUTAGE: Cause.OUTAGE,
}
_SHORTEST: Final = 0.1  # seconds between two probes, whatever the clock says


class Limited:
    """Implements `agent.ports.Remote` and `agent.ports.Gate`.

    `ours` tells a reference of this agent's. `told(opened)` hears when a circuit opens, or is open for another cause,
    and of None when all are closed. `authenticate` asks for a token; each answer of the token endpoint is reported to
    `token_answered`. `guard` has to run, or a circuit that opened stays open.
    """

    def __init__(
        self,
        remote: Remote,
        turns: Turns,
        clock: Clock,
        chance: Callable[[], float],
        ours: Callable[[str], bool],
        told: Callable[[Opened | None], None] = lambda opened: None,
        authenticate: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._remote = remote
        self._turns = turns
        self._clock = clock
        self._chance = chance
        self._ours = ours
        self._told = harmless(told)
        self._authenticate = authenticate or remote.list_dossiers
        self._breaker = Breaker()
        self._token = TokenCircuit()
        self._wake: Callable[[], None] = lambda: None
        self._moved = asyncio.Event()
        self._probes = 0
        self.probing = False

    # ---- the gate

    @property
    def opened(self) -> Opened | None:
        """The circuit that is open; of two the one that a person has to end, otherwise the one that opened first."""
        both = [one for one in (self._token.opened, self._breaker.opened) if one is not None]
        return min(both, key=lambda one: (one.cause is not Cause.CREDENTIALS, one.since), default=None)

    def shut(self, now: float) -> bool:
        """True while nothing is sent."""
        return self._token.next is not None or self._breaker.shut(now)

    def room(self, now: float) -> float:
        """How many more calls may begin now."""
        if self._token.next is not None:
            return 0.0
        return min(self._breaker.room(now), self._turns.bucket.room(now))

    def opens_at(self, now: float) -> float:
        """When another call may begin; infinity: `wake` is called then."""
        if self._token.next is not None:
            return math.inf
        return max(self._breaker.opens_at(now), self._turns.bucket.opens_at(now))

    def listen(self, wake: Callable[[], None]) -> None:
        """Call this whenever nothing may be sent any more, or everything again."""
        self._wake = wake

    def believe(self) -> None:
        """A person says: go on; what is missing is gone indeed."""
        with self._watched():
            self._breaker.believe(self._clock.now())

    def token_answered(self, answer: TokenAnswer) -> None:
        """The token endpoint answered, or did not. One answer counts once, however many calls waited for it."""
        with self._watched():
            if isinstance(answer, Done):
                self._token.issued()
            else:
                denied, certain = answer.evidence.status in (401, 403), isinstance(answer, Refused)
                pause = answer.retry_after if isinstance(answer, Busy) else None
                self._token.failed(self._clock.now(), self._chance(), pause or 0.0, denied, certain)

    async def guard(self) -> None:
        """Ask for a token, or send a probe, now and then while a circuit is open. Runs until it is cancelled."""
        while True:
            self._moved.clear()
            awaited = self._token.next or self._breaker.opened
            if awaited is None:
                await self._clock.wait(self._moved, None)
                continue
            wait = awaited.probe_at - self._clock.now()  # longer than it was meant to be when the clock went back
            await self._clock.wait(self._moved, min(max(wait, _SHORTEST), max(awaited.interval, LONGEST_PAUSE)))
            if not self._moved.is_set():
                await self._probe()

    async def _probe(self) -> None:
        """Of the token endpoint, while it gives none: nothing can be asked of Assure then."""
        self.probing = True
        try:
            if self._token.next is not None:
                await self._authenticate()
            elif (opened := self._breaker.opened) is not None:
                well = await (self._seen_again() if opened.cause is Cause.MISSING else self._answered_again())
                if self._breaker.opened is opened and self._token.next is None:
                    with self._watched():
                        self._breaker.probed(well, self._clock.now(), self._chance())
        finally:
            self.probing = False

    async def _answered_again(self) -> bool:
        """Two reads that touch nothing: one of them may be broken alone, or meet the noise that is always there."""
        if _seen(await self._remote.list_dossiers(), None, False) is Seen.WELL:
            return True
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

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Whatever the block does to the circuits is told."""
        shut, before, awaited = self._barred, self.opened, (self._token.next, self._breaker.opened)
        yield
        after = self.opened
        if (before and before.cause) != (after and after.cause):
            self._told(after)
        if shut != self._barred:
            self._wake()
        if awaited != (self._token.next, self._breaker.opened):
            self._moved.set()

    @property
    def _barred(self) -> bool:
        """Only a probe can end it."""
        return self._token.next is not None or self._breaker.opened is not None

    # ---- one call

    async def _let(self, call: Callable[[], Awaitable[Answer[T]]], target: str | None, gone: bool = False) -> Answer[T]:
        """Send it, unless it has to wait. `target` is the dossier it is about; `gone`: a 404 is expected."""
        now = self._clock.now()
        if not self.shut(now) and await self._turns.next(now):
            now = self._clock.now()
        if self.shut(now):  # now, or since we began to wait
            wait = None if self._barred else self._breaker.opens_at(now) - now
            return Busy(evidence=Evidence(cause=NOT_SENT), retry_after=wait)
        begun = self._breaker.begin()
        try:
            answer = await call()
        finally:
            self._breaker.ended(begun)
        seen = _seen(answer, target, gone)
        self._heard(seen, answer, target)
        return self._believed(seen, answer)

    async def _listed(self, call: Callable[[], Awaitable[Answer[T]]]) -> Answer[T]:
        """A list touches nothing, and many requests wait for it: it is asked for again at once, a few times."""
        for _ in range(LISTS - 1):
            answer = await self._let(call, None)
            if _seen(answer, None, False) is not Seen.OUTAGE or self.shut(self._clock.now()):
                return answer
        return await self._let(call, None)

    def _heard(self, seen: Seen, answer: Answer[T], target: str | None) -> None:
        now = self._clock.now()
        with self._watched():
            asked = answer.retry_after if isinstance(answer, Busy | Unknown) and _of_assure(answer) else None
            self._breaker.saw(seen, now, self._chance(), target or "", asked)

    def _believed(self, seen: Seen, answer: Answer[T]) -> Answer[T]:
        """A refusal that is most likely meant for the account, not for this request, counts as not sent."""
        opened = self._breaker.opened
        if opened is None or not isinstance(answer, Refused):
            return answer
        account = _ACCOUNT.get(seen)
        return Busy(evidence=replace(answer.evidence, cause=UNBELIEVED)) if opened.cause is account else answer

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
        return await self._listed(self._remote.list_dossiers)

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes."""
        return await self._listed(lambda: self._remote.list_processes(since, statuses, offset, limit))

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types."""
        return await self._let(self._remote.list_document_types, None)

    async def delete_dossier(self, dossier_id: str, gone: bool = False) -> Answer[None]:
        """DELETE dossier."""
        return await self._let(lambda: self._remote.delete_dossier(dossier_id, gone), dossier_id, gone)


def _of_assure(answer: Answer[T]) -> bool:
    """False when it was the token endpoint that answered, or did not."""
    return answer.evidence.trouble is not Trouble.NO_TOKEN and answer.evidence.cause not in UNACCEPTED


def _seen(answer: Answer[T], target: str | None, gone: bool) -> Seen:
    """The meaning of an answer beyond its own request."""
    evidence = answer.evidence
    if not _of_assure(answer):
        return Seen.NOTHING
    if evidence.status == 403 and evidence.cause != "foreign-body":
        return Seen.FORBIDDEN
    if evidence.cause == NEW_TOKENS_REFUSED:
        return Seen.UNACCEPTED
    return _of_calls(answer, target, gone)


def _of_calls(answer: Answer[T], target: str | None, gone: bool) -> Seen:
    """Of an answer that says nothing of the client."""
    evidence = answer.evidence
    missing = evidence.status == 404 and target is not None
    match answer:
        case Busy() if evidence.status == 404:
            return Seen.MISSING  # not even the path is there
        case Done():
            return Seen.WELL if target is None else Seen.TARGET
        case Refused() if evidence.status is None:
            return Seen.NOTHING
        case Refused() if evidence.cause == NOT_ACTED:
            return Seen.OUTAGE  # not in Assure's words: where nearly all calls end so, it is the gateway
        case Refused():
            return Seen.MISSING if missing and not gone else Seen.WELL
        case Unknown() if (
            evidence.cause == "error-body"
        ):  # a start believes no refusal; it is one of Assure's all the same
            return Seen.MISSING if missing else Seen.WELL
        case Unknown() if surprising(evidence):
            return Seen.NOTHING
    return Seen.OUTAGE
