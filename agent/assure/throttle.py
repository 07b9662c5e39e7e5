"""The middleware around each call to Assure: rate limit, circuit breakers, and distrust of unlikely 404s.

A call that may not be sent is *busy* at once: it did not happen, and it blocks no other call [I9]. The controller asks
`Gate` before it starts work, so that waiting requests stay rows with a time [I8].
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from agent.assure.answer_signal import AnswerSignal, signal_of
from agent.assure.circuit_breaker import Cause, CircuitBreaker, OpenCircuit, TokenCircuit
from agent.assure.connection import Call, Send
from agent.assure.rate_limit import RateLimiter
from agent.assure.shared_circuit import SharedBreaker
from agent.assure.token import TokenAnswer
from agent.core.answer import NOT_SENT, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.classify import MAX_RETRY_AFTER, Reader
from agent.platform.callbacks import isolated
from agent.ports import CircuitState, CircuitTable, Clock, Remote

T = TypeVar("T")
_Circuits = tuple[OpenCircuit | None, OpenCircuit | None, OpenCircuit | None]
"""The next token request, the reported circuit of the token endpoint, and Assure's."""

MISSING_NOT_TRUSTED: Final = "not-believed"  # the cause of a 404 that most likely comes from a wrong account
LIST_ATTEMPTS: Final = 3  # attempts to read a list, without a pause between them
_WITH_RETRY_AFTER: Final = (Busy, Unknown)
_LISTS: Final = (Operation.LIST_DOSSIERS, Operation.LIST_PROCESSES)
_ACCOUNT: Final = {
    AnswerSignal.TARGET_MISSING: Cause.MISSING,
    AnswerSignal.FORBIDDEN: Cause.CREDENTIALS,
    AnswerSignal.OUTAGE: Cause.OUTAGE,
}
_MIN_PROBE_INTERVAL: Final = 0.1  # seconds


class Throttle:
    """Implements `agent.assure.client.Middleware` and `agent.ports.Gate`.

    `remote` sends the probes: a client without this middleware. `ours` recognises a reference of this agent.
    `on_circuit_change` receives the open circuit when one opens or its cause changes, and None when all are closed.
    `authenticate` requests a token. `token_answered` must receive each answer of the token endpoint. `run_probes`
    must run, or an open circuit stays open.
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
        shared: CircuitTable | None = None,
    ) -> None:
        """`shared` is the circuit of all replicas; None for a single agent."""
        self._remote = remote
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._ours = ours
        self._on_circuit_change = isolated(on_circuit_change)
        self._authenticate = authenticate or remote.list_dossiers
        self._breaker = CircuitBreaker()
        self._shared = None if shared is None else SharedBreaker(shared, self._breaker)
        self._token = TokenCircuit()
        self._wake: Callable[[], None] = lambda: None
        self._moved = asyncio.Event()
        self._probes = 0
        self.probing = False

    # ---- the middleware

    async def __call__(self, send: Send, call: Call, read: Reader[T]) -> Answer[T]:
        """Send the call, unless it has to wait. A failed list is read again at once: many requests wait for it."""
        attempts = LIST_ATTEMPTS if call.operation in _LISTS else 1
        while True:
            attempts -= 1
            now = self._clock.now()
            if not self.is_closed(now) and (turn := self._limiter.bucket.reserve(now)) > now:
                await self._limiter.wait_until(turn, now)
                now = self._clock.now()
            if self.is_closed(now):
                wait = None if self._needs_probe else self._breaker.opens_at(now) - now
                return Busy(evidence=Evidence(cause=NOT_SENT), retry_after=wait)
            number = self._breaker.start_call()
            try:
                answer = await send(call, read)
            finally:
                self._breaker.end_call(number)
            signal = signal_of(answer, call.dossier_id, call.expect_missing)
            counts = await self._count_together(signal, call.dossier_id or "")
            answer = self._record(signal, answer, call.dossier_id, counts)
            if not attempts or signal is not AnswerSignal.OUTAGE or self.is_closed(self._clock.now()):
                return answer

    async def _count_together(self, signal: AnswerSignal, target: str) -> Mapping[str, int] | None:
        """The unexpected 404s of all replicas, with this answer. None: it is not one, or this agent counts alone."""
        if self._shared is None:
            return None
        if signal is AnswerSignal.TARGET_FOUND:
            self._shared.found_dossier()
        if signal is not AnswerSignal.TARGET_MISSING or not self._breaker.counts_missing(self._clock.now()):
            return None
        return await self._shared.count_missing(target)

    def _record(
        self, signal: AnswerSignal, answer: Answer[T], target: str | None, missing: Mapping[str, int] | None
    ) -> Answer[T]:
        """Count the answer in Assure's circuit. Return it, or Busy instead of a refusal that is not trusted."""
        retry_after = answer.retry_after if isinstance(answer, _WITH_RETRY_AFTER) else None
        if answer.evidence.trouble is Trouble.NO_TOKEN:
            retry_after = None  # of the token endpoint
        before = self._circuits
        self._breaker.record(signal, self._clock.now(), self._jitter(), target or "", retry_after, missing)
        opened = self._breaker.opened
        if opened is not before[2]:
            self._report_changes(before)
        elif self._shared is not None and retry_after:
            self._shared.notice()
        if opened is not None and isinstance(answer, Refused) and opened.cause is _ACCOUNT.get(signal):
            # Most likely this refusal concerns the account, not this request: it counts as not sent.
            return Busy(evidence=replace(answer.evidence, cause=MISSING_NOT_TRUSTED))
        return answer

    # ---- the gate

    @property
    def opened(self) -> OpenCircuit | None:
        """The open circuit. Of two, the one that needs the operator, otherwise the one that opened first."""
        return _reported(self._circuits)

    def is_closed(self, now: float) -> bool:
        """True while no call is sent."""
        return self._token.next is not None or self._breaker.is_closed_to_calls(now)

    def capacity(self, now: float) -> float:
        """How many more calls may begin now."""
        if self._token.next is not None:
            return 0.0
        return min(self._breaker.capacity(now), self._limiter.bucket.capacity(now))

    def opens_at(self, now: float) -> float:
        """When another call may begin. Infinity: a probe decides, and then calls `wake`."""
        if self._token.next is not None:
            return math.inf
        return max(self._breaker.opens_at(now), self._limiter.bucket.opens_at(now))

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a circuit opens or closes."""
        self._wake = wake

    def trust_missing(self) -> None:
        """The operator confirms that the missing dossiers were deleted."""
        before = self._circuits
        self._breaker.trust_missing(self._clock.now())
        self._report_changes(before)

    def apply_shared(self, state: CircuitState) -> None:
        """Apply what other replicas noticed."""
        if self._shared is not None:
            before = self._circuits
            self._shared.apply(state, self._clock.now())
            self._report_changes(before)

    async def run_shared(self) -> None:
        """Write for other replicas what this one notices. Runs until it is cancelled, or ends if there are none."""
        if self._shared is not None:
            await self._shared.run()

    def token_answered(self, answer: TokenAnswer) -> None:
        """The token endpoint answered, or failed to. One answer counts once, for all calls that waited for it."""
        before = self._circuits
        if isinstance(answer, Done):
            self._token.issued()
        else:
            denied, certain = answer.evidence.status in (401, 403), isinstance(answer, Refused)
            pause = answer.retry_after if isinstance(answer, Busy) else None
            self._token.failed(self._clock.now(), self._jitter(), pause or 0.0, denied, certain)
        self._report_changes(before)

    async def run_probes(self) -> None:
        """Request a token, or send a probe, at intervals while a circuit is open. Runs until it is cancelled."""
        while True:
            self._moved.clear()
            awaited = self._token.next or self._breaker.opened
            if awaited is None:
                await self._clock.wait(self._moved, None)
                continue
            wait = awaited.probe_at - self._clock.now()  # too long if the clock went back
            await self._clock.wait(
                self._moved, min(max(wait, _MIN_PROBE_INTERVAL), max(awaited.interval, MAX_RETRY_AFTER))
            )
            if not self._moved.is_set():
                await self._probe()

    async def _probe(self) -> None:
        """Probe the token endpoint first: without a token no call can reach Assure."""
        self.probing = True
        try:
            if self._token.next is not None:
                await self._authenticate()
            elif (opened := self._breaker.opened) is not None:
                if self._shared is not None and not await self._shared.take_probe(opened, self._clock.now()):
                    return
                well = await (self._probe_missing() if opened.cause is Cause.MISSING else self._probe_reads())
                current = self._breaker.opened
                if current is not None and current.is_same(opened) and self._token.next is None:
                    before = self._circuits
                    self._breaker.record_probe(well, self._clock.now(), self._jitter())
                    self._report_changes(before)
        finally:
            self.probing = False

    async def _probe_reads(self) -> bool:
        """Two harmless reads: one endpoint alone may be broken, or fail by chance."""
        if signal_of(await self._remote.list_dossiers(), None) is AnswerSignal.HEALTHY:
            return True
        recent = await self._remote.list_processes(self._clock.now() - 3600.0, (), 0, 1)
        return signal_of(recent, None) is AnswerSignal.HEALTHY

    async def _probe_missing(self) -> bool:
        """The account is right if a missing dossier exists again, or any dossier of this agent."""
        self._probes += 1
        missing = [target for target in self._breaker.missing if target]
        if not missing:
            return isinstance(await self._remote.list_dossiers(), Done)
        if self._probes % 2:
            return isinstance(await self._remote.read_dossier(missing[self._probes // 2 % len(missing)]), Done)
        listed = await self._remote.list_dossiers()
        return isinstance(listed, Done) and any(row.reference and self._ours(row.reference) for row in listed.value)

    @property
    def _circuits(self) -> _Circuits:
        return self._token.next, self._token.opened, self._breaker.opened

    def _report_changes(self, before: _Circuits) -> None:
        """Report each change of the circuits since `before`. Nearly all answers change none."""
        now = self._circuits
        if self._shared is not None:
            self._shared.notice()
        if before == now:
            return
        known, opened = _reported(before), _reported(now)
        if (known and known.cause) != (opened and opened.cause):
            self._on_circuit_change(opened)
        if _need_probe(before) != _need_probe(now):
            self._wake()
        if (before[0], before[2]) != (now[0], now[2]):
            self._moved.set()

    @property
    def _needs_probe(self) -> bool:
        return _need_probe(self._circuits)


def _reported(circuits: _Circuits) -> OpenCircuit | None:
    _, token, assure = circuits
    both = [one for one in (token, assure) if one is not None]
    return min(both, key=lambda one: (one.cause is not Cause.CREDENTIALS, one.since), default=None)


def _need_probe(circuits: _Circuits) -> bool:
    """True while only a probe can close a circuit."""
    awaited, _, assure = circuits
    return awaited is not None or assure is not None
