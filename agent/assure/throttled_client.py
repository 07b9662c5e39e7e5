"""Every call passes here: a remote that does not drown the other side, nor believes it too easily.

`ThrottledRemote` is a `Remote` before a `Remote`. What it lets through goes at once, and nobody waits for anybody else's call
[I9]; what it does not is *busy*: it did not happen. Who asks the `CrashPoints` first does not even begin, and stays a row with
a time [I8]. What the brakes decide stands in `brakes.py`.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from agent.assure.circuit_breaker import AnswerSignal, Cause, CircuitBreaker, OpenCircuit, TokenCircuit
from agent.assure.rate_limit import RateLimiter
from agent.assure.token import TokenAnswer
from agent.core.answer import (
    CLIENT_REJECTED,
    NEW_TOKENS_REFUSED,
    NOT_SENT,
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
    Listing,
    NewProcess,
    ProcessPage,
    ProcessReading,
    ProcessType,
    Status,
)
from agent.core.classify import MAX_RETRY_AFTER, NOT_ACTED
from agent.core.retry import is_unexpected
from agent.platform.callbacks import isolated
from agent.ports import Clock, Image, Remote, ResultReading

T = TypeVar("T")

MISSING_NOT_TRUSTED: Final = "not-believed"  # the cause of a 404 that is most likely another account's
LIST_ATTEMPTS: Final = 3  # times that a list is asked for at once
_ACCOUNT: Final = {
    AnswerSignal.TARGET_MISSING: Cause.MISSING,
    AnswerSignal.FORBIDDEN: Cause.CREDENTIALS,
    AnswerSignal.OUTAGE: Cause.OUTAGE,
}
_MIN_PROBE_INTERVAL: Final = 0.1  # seconds between two probes, whatever the clock says


class ThrottledRemote:
    """Implements `agent.ports.Remote` and `agent.ports.Gate`.

    `ours` tells a reference of this agent's. `told(opened)` hears when a circuit opens, or is open for another cause,
    and of None when all are closed. `authenticate` asks for a token; each answer of the token endpoint is reported to
    `token_answered`. `guard` has to run, or a circuit that opened stays open.
    """

    def __init__(
        self,
        remote: Remote,
        limiter: RateLimiter,
        clock: Clock,
        jitter: Callable[[], float],
        ours: Callable[[str], bool],
        on_circuit_change: Callable[[OpenCircuit | None], None] = lambda opened: None,
        authenticate: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._remote = remote
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._ours = ours
        self._on_circuit_change = isolated(on_circuit_change)
        self._authenticate = authenticate or remote.list_dossiers
        self._breaker = CircuitBreaker()
        self._token = TokenCircuit()
        self._wake: Callable[[], None] = lambda: None
        self._moved = asyncio.Event()
        self._probes = 0
        self.probing = False

    # ---- the gate

    @property
    def opened(self) -> OpenCircuit | None:
        """The circuit that is open; of two the one that a person has to end, otherwise the one that opened first."""
        both = [one for one in (self._token.opened, self._breaker.opened) if one is not None]
        return min(both, key=lambda one: (one.cause is not Cause.CREDENTIALS, one.since), default=None)

    def is_closed(self, now: float) -> bool:
        """True while nothing is sent."""
        return self._token.next is not None or self._breaker.is_closed_to_calls(now)

    def capacity(self, now: float) -> float:
        """How many more calls may begin now."""
        if self._token.next is not None:
            return 0.0
        return min(self._breaker.capacity(now), self._limiter.bucket.capacity(now))

    def opens_at(self, now: float) -> float:
        """When another call may begin; infinity: `wake` is called then."""
        if self._token.next is not None:
            return math.inf
        return max(self._breaker.opens_at(now), self._limiter.bucket.opens_at(now))

    def listen(self, wake: Callable[[], None]) -> None:
        """Call this whenever nothing may be sent any more, or everything again."""
        self._wake = wake

    def trust_missing(self) -> None:
        """A person says: go on; what is missing is gone indeed."""
        with self._reporting_changes():
            self._breaker.trust_missing(self._clock.now())

    def token_answered(self, answer: TokenAnswer) -> None:
        """The token endpoint answered, or did not. One answer counts once, however many calls waited for it."""
        with self._reporting_changes():
            if isinstance(answer, Done):
                self._token.issued()
            else:
                denied, certain = answer.evidence.status in (401, 403), isinstance(answer, Refused)
                pause = answer.retry_after if isinstance(answer, Busy) else None
                self._token.failed(self._clock.now(), self._jitter(), pause or 0.0, denied, certain)

    async def run_probes(self) -> None:
        """Ask for a token, or send a probe, now and then while a circuit is open. Runs until it is cancelled."""
        while True:
            self._moved.clear()
            awaited = self._token.next or self._breaker.opened
            if awaited is None:
                await self._clock.wait(self._moved, None)
                continue
            wait = awaited.probe_at - self._clock.now()  # longer than it was meant to be when the clock went back
            await self._clock.wait(
                self._moved, min(max(wait, _MIN_PROBE_INTERVAL), max(awaited.interval, MAX_RETRY_AFTER))
            )
            if not self._moved.is_set():
                await self._probe()

    async def _probe(self) -> None:
        """Of the token endpoint, while it gives none: nothing can be asked of Assure then."""
        self.probing = True
        try:
            if self._token.next is not None:
                await self._authenticate()
            elif (opened := self._breaker.opened) is not None:
                well = await (self._probe_missing() if opened.cause is Cause.MISSING else self._probe_reads())
                if self._breaker.opened is opened and self._token.next is None:
                    with self._reporting_changes():
                        self._breaker.record_probe(well, self._clock.now(), self._jitter())
        finally:
            self.probing = False

    async def _probe_reads(self) -> bool:
        """Two reads that touch nothing: one of them may be broken alone, or meet the noise that is always there."""
        if _signal(await self._remote.list_dossiers(), None, False) is AnswerSignal.HEALTHY:
            return True
        recent = await self._remote.list_processes(self._clock.now() - 3600.0, (), 0, 1)
        return _signal(recent, None, False) is AnswerSignal.HEALTHY

    async def _probe_missing(self) -> bool:
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
    def _reporting_changes(self) -> Iterator[None]:
        """Whatever the block does to the circuits is told."""
        shut, before, awaited = self._needs_probe, self.opened, (self._token.next, self._breaker.opened)
        yield
        after = self.opened
        if (before and before.cause) != (after and after.cause):
            self._on_circuit_change(after)
        if shut != self._needs_probe:
            self._wake()
        if awaited != (self._token.next, self._breaker.opened):
            self._moved.set()

    @property
    def _needs_probe(self) -> bool:
        """Only a probe can end it."""
        return self._token.next is not None or self._breaker.opened is not None

    # ---- one call

    async def _send(
        self, call: Callable[[], Awaitable[Answer[T]]], target: str | None, expect_missing: bool = False
    ) -> Answer[T]:
        """Send it, unless it has to wait. `target` is the dossier it is about; `gone`: a 404 is expected."""
        now = self._clock.now()
        if not self.is_closed(now) and await self._limiter.acquire(now):
            now = self._clock.now()
        if self.is_closed(now):  # now, or since we began to wait
            wait = None if self._needs_probe else self._breaker.opens_at(now) - now
            return Busy(evidence=Evidence(cause=NOT_SENT), retry_after=wait)
        begun = self._breaker.start_call()
        try:
            answer = await call()
        finally:
            self._breaker.end_call(begun)
        seen = _signal(answer, target, expect_missing)
        self._record_answer(seen, answer, target)
        return self._distrust_missing(seen, answer)

    async def _send_list(self, call: Callable[[], Awaitable[Answer[T]]]) -> Answer[T]:
        """A list touches nothing, and many requests wait for it: it is asked for again at once, a few times."""
        for _ in range(LIST_ATTEMPTS - 1):
            answer = await self._send(call, None)
            if _signal(answer, None, False) is not AnswerSignal.OUTAGE or self.is_closed(self._clock.now()):
                return answer
        return await self._send(call, None)

    def _record_answer(self, signal: AnswerSignal, answer: Answer[T], target: str | None) -> None:
        now = self._clock.now()
        with self._reporting_changes():
            asked = answer.retry_after if isinstance(answer, Busy | Unknown) and _is_from_assure(answer) else None
            self._breaker.record(signal, now, self._jitter(), target or "", asked)

    def _distrust_missing(self, signal: AnswerSignal, answer: Answer[T]) -> Answer[T]:
        """A refusal that is most likely meant for the account, not for this request, counts as not sent."""
        opened = self._breaker.opened
        if opened is None or not isinstance(answer, Refused):
            return answer
        account = _ACCOUNT.get(signal)
        return Busy(evidence=replace(answer.evidence, cause=MISSING_NOT_TRUSTED)) if opened.cause is account else answer

    # ---- the port

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers."""
        return await self._send(lambda: self._remote.create_dossier(reference), None)

    async def create_process(self, dossier_id: str, process_type: ProcessType, document_id: int) -> Answer[NewProcess]:
        """POST processes."""
        return await self._send(lambda: self._remote.create_process(dossier_id, process_type, document_id), dossier_id)

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture."""
        return await self._send(lambda: self._remote.start_capture(dossier_id, options), dossier_id)

    async def upload_images(self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]) -> Answer[None]:
        """POST images."""
        return await self._send(lambda: self._remote.upload_images(dossier_id, process_id, images), dossier_id)

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process."""
        return await self._send(lambda: self._remote.start_verification(dossier_id, process_id), dossier_id)

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process."""
        return await self._send(lambda: self._remote.read_process(dossier_id, process_id), dossier_id)

    async def read_result(self, dossier_id: str, process_id: str) -> Answer[ResultReading]:
        """GET process, with the claims of an accepted one."""
        return await self._send(lambda: self._remote.read_result(dossier_id, process_id), dossier_id)

    async def read_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[DossierReading]:
        """GET dossier."""
        return await self._send(
            lambda: self._remote.read_dossier(dossier_id, expect_missing), dossier_id, expect_missing
        )

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images."""
        return await self._send(lambda: self._remote.read_image(dossier_id, process_id, depiction), dossier_id)

    async def list_dossiers(self) -> Answer[Listing]:
        """GET /dossiers."""
        return await self._send_list(self._remote.list_dossiers)

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes."""
        return await self._send_list(lambda: self._remote.list_processes(since, statuses, offset, limit))

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types."""
        return await self._send(self._remote.list_document_types, None)

    async def delete_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[None]:
        """DELETE dossier."""
        return await self._send(
            lambda: self._remote.delete_dossier(dossier_id, expect_missing), dossier_id, expect_missing
        )


def _is_from_assure(answer: Answer[T]) -> bool:
    """False when it was the token endpoint that answered, or did not."""
    return answer.evidence.trouble is not Trouble.NO_TOKEN and answer.evidence.cause not in CLIENT_REJECTED


def _signal(answer: Answer[T], target: str | None, expect_missing: bool) -> AnswerSignal:
    """The meaning of an answer beyond its own request."""
    evidence = answer.evidence
    if not _is_from_assure(answer):
        return AnswerSignal.NEUTRAL
    if evidence.status == 403 and evidence.cause != "foreign-body":
        return AnswerSignal.FORBIDDEN
    if evidence.cause == NEW_TOKENS_REFUSED:
        return AnswerSignal.CLIENT_REJECTED
    return _call_signal(answer, target, expect_missing)


def _call_signal(answer: Answer[T], target: str | None, expect_missing: bool) -> AnswerSignal:
    """Of an answer that says nothing of the client."""
    evidence = answer.evidence
    missing = evidence.status == 404 and target is not None
    match answer:
        case Busy() if evidence.status == 404:
            return AnswerSignal.TARGET_MISSING  # not even the path is there
        case Done():
            return AnswerSignal.HEALTHY if target is None else AnswerSignal.TARGET_FOUND
        case Refused() if evidence.status is None:
            return AnswerSignal.NEUTRAL
        case Refused() if evidence.cause == NOT_ACTED:
            return AnswerSignal.OUTAGE  # not in Assure's words: where nearly all calls end so, it is the gateway
        case Refused():
            return AnswerSignal.TARGET_MISSING if missing and not expect_missing else AnswerSignal.HEALTHY
        case Unknown() if (
            evidence.cause == "error-body"
        ):  # a start believes no refusal; it is one of Assure's all the same
            return AnswerSignal.TARGET_MISSING if missing else AnswerSignal.HEALTHY
        case Unknown() if is_unexpected(evidence):
            return AnswerSignal.NEUTRAL
    return AnswerSignal.OUTAGE
