"""The drive loop: claims what is due, drives each record as far as it goes without waiting, bounded in number.

A record is driven by one task at a time; whatever reaches it meanwhile waits in its inbox. A waiting request is a row
with a time, never a task [I8], and what goes wrong with one request stays with it [I9]: only a store that cannot be
written ends the loop, because without it nothing may be told to the outside [I4].
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from agent.barrier import Barrier
from agent.core.effect import Effect
from agent.core.errors import Impossible, StoreError
from agent.core.machine import Step, admit, step
from agent.core.observation import CameDue, Observation, ResultSighted, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.interpreter import Interpreter
from agent.ports import Clock, Gate, Store

_FAULT_PAUSE = 60.0  # seconds until a record that met a bug of ours is tried again
_CLOCKS = 60.0  # seconds between two looks at deadlines while nothing can be sent
_MOMENT = 0.05  # seconds: the shortest wait for room
_MANY = 1000  # records looked at for their deadlines at once


class OpenGate:
    """Implements `agent.ports.Gate` where there are no brakes."""

    def shut(self, _: float) -> bool:
        """Never."""
        return False

    def room(self, _: float) -> float:
        """Any number."""
        return math.inf

    def opens_at(self, now: float) -> float:
        """It is open."""
        return now

    def listen(self, wake: Callable[[], None]) -> None:
        """There is nothing to hear."""


class Reconciler:
    """Drives records. `seen(step)` hears of every committed step, `failed(uid, error)` of a bug with one record."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        clock: Clock,
        policy: Policy,
        concurrency: int,
        chance: Callable[[], float],
        seen: Callable[[Step], None] = lambda step: None,
        failed: Callable[[str, Exception], None] = lambda uid, error: None,
        gate: Gate | None = None,
    ) -> None:
        self._store = store
        self._interpreter = interpreter
        self._clock = clock
        self._policy = policy
        self._concurrency = concurrency
        self._chance = chance
        self._seen = seen
        self._failed = failed
        self._wake = asyncio.Event()
        self._ready: dict[str, Record] = {}  # claimed, in order
        self._driven: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()  # records whose observations are being committed by `tell`
        self._inbox: dict[str, list[Observation]] = {}
        self._sighted: dict[str, None] = {}  # uids whose result is there, in order; a hint that nothing keeps
        self._faulty: dict[str, float] = {}  # uid -> when to try again
        self._resting: dict[str, float] = {}  # due, and held up by the gate or the barrier; uid -> when to look again
        self._asking: set[str] = set()  # driven, and with a call under way
        self._short = False  # the gate had no room for all that is due
        self._clocks_at = -math.inf  # when deadlines were last looked at while the gate was shut
        self._gate = gate or OpenGate()
        self._gate.listen(self._gate_moved)
        self._barrier = Barrier(policy)
        self._stopping = False
        self._paused = False
        self._broken: StoreError | None = None

    # -- from the source -------------------------------------------------------------------------------------

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests, in one transaction."""
        now = self._clock.now()
        await self._commit([admit(record, now, self._policy) for record in records])
        self._wake.set()

    async def tell(self, observations: Mapping[str, Observation]) -> None:
        """Let records know of something, by uid. Those that are idle fold it in now, in one transaction."""
        steps = []
        for uid, observation in observations.items():
            record = None if self._occupied(uid) else self._store.get(uid)
            if record is None or record.intent is not None:
                self._inbox.setdefault(uid, []).append(observation)
            else:
                steps.append(step(record, observation, self._policy, ask=False))
        uids = {item.record.uid for item in steps}
        self._told |= uids
        try:
            await self._commit([item for item in steps if item.changed])
        finally:
            self._told -= uids
            self._wake.set()
        for uid in uids & self._inbox.keys():  # told while this was being committed
            if (waiting := self._received(uid)) is not None:
                await self.tell({uid: waiting})

    def sight(self, uids: Iterable[str]) -> None:
        """The results of these are there: look at them in their turn. Who is driven just now is sighted again later."""
        self._sighted.update((uid, None) for uid in uids if not self._occupied(uid))
        self._wake.set()

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive until `stop`. Raises StoreError when the store cannot be written."""
        self._barrier.begin(self._store.creating(), self._clock.now())
        while not self._stopping and self._broken is None:
            self._wake.clear()
            self._fill()
            await self._clock.wait(self._wake, self._pause())
        await self._drain()
        if self._broken is not None:
            raise self._broken

    @property
    def paused(self) -> bool:
        """While it is paused nothing new is begun; what runs is observed and deleted."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._policy = replace(self._policy, paused=paused)
        self._ready.clear()  # claimed under another rule
        self._faulty.clear()  # those that rested because of the pause among them
        self._wake.set()

    @property
    def recovering(self) -> bool:
        """While the store is recovering, what is admitted waits to be looked for at Assure."""
        return self._policy.recovering

    @recovering.setter
    def recovering(self, recovering: bool) -> None:
        self._policy = replace(self._policy, recovering=recovering)

    def wake(self) -> None:
        """Look again at what is due."""
        self._wake.set()

    def stop(self) -> None:
        """Ask for nothing new; what is under way is answered and saved."""
        self._stopping = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        """True when no record is being driven, and none is ready."""
        return not self._driven and not self._ready and not self._told

    def _fill(self) -> None:
        """Give every free slot a record; when none is ready, claim some."""
        now = self._clock.now()
        self._faulty = {uid: until for uid, until in self._faulty.items() if until > now}
        self._resting = {uid: until for uid, until in self._resting.items() if until > now}
        room = self._gate.room(now)
        if self._gate.shut(now):
            room = self._ready_for_clocks(now)
        elif not self._ready and len(self._driven) < self._concurrency and room:
            begun = self.paused or self._barrier.up(now)
            claimed = self._store.claim(now, 2 * self._concurrency, self._busy(), begun)
            self._ready = {record.uid: record for record in claimed}
            self._look(2 * self._concurrency - len(claimed))
        while self._ready and len(self._driven) < self._concurrency and len(self._driven) - len(self._asking) < room:
            self._start(self._ready.pop(next(iter(self._ready))))
        self._short = room < math.inf

    def _look(self, most: int) -> None:
        """Those whose result is there go last, like everybody who waits for one."""
        busy = self._busy()
        while self._sighted and most > 0:
            uid = next(iter(self._sighted))
            del self._sighted[uid]
            record = None if uid in busy or uid in self._ready else self._store.get(uid)
            if record is not None and record.intent is None:
                self._ready[uid] = record
                self._inbox.setdefault(uid, []).append(ResultSighted(at=self._clock.now()))
                most -= 1

    def _ready_for_clocks(self, now: float) -> float:
        """Nothing can be asked; deadlines are kept all the same. Returns how many may be looked at: all of them."""
        left, self._ready = self._ready, {}
        if not self._clocks_at <= now < self._clocks_at + _CLOCKS:
            found = self._store.overdue(now, _MANY, self._busy())
            self._ready = {record.uid: record for record in found}
            self._clocks_at = now if len(found) < _MANY else -math.inf
        self._ready.update({uid: record for uid, record in left.items() if uid in self._inbox})
        return math.inf

    def _gate_moved(self) -> None:
        self._clocks_at = -math.inf
        self._resting.clear()
        self._barrier.again(self._clock.now())
        self._wake.set()

    def _start(self, record: Record) -> None:
        self._driven[record.uid] = asyncio.create_task(self._drive(record))

    def _pause(self) -> float | None:
        """How long nothing new can be begun, unless we are woken; None: until then."""
        now = self._clock.now()
        if len(self._driven) >= self._concurrency:
            return None  # the next that ends wakes us
        if self._gate.shut(now):
            times = [self._gate.opens_at(now), self._clocks_at + _CLOCKS]
        elif self._ready or len(self._driven) - len(self._asking) >= self._gate.room(now):
            times = [max(self._gate.opens_at(now), now + _MOMENT)]  # or one of those at hand asks first, and wakes us
        else:
            falls_at = self._barrier.falls_at(now)
            due = self._store.next_due(self._busy(), self.paused or falls_at is not None)
            known = (due, falls_at, *self._faulty.values(), *self._resting.values())
            times = [time for time in known if time is not None]
        wait = min(times, default=math.inf) - now
        return max(0.0, wait) if wait < math.inf else None

    def _busy(self) -> set[str]:
        return {*self._driven, *self._told, *self._faulty, *self._resting}

    def _occupied(self, uid: str) -> bool:
        return uid in self._driven or uid in self._told or uid in self._ready

    async def _drain(self) -> None:
        self._ready.clear()
        while self._driven:
            await asyncio.wait(self._driven.values())

    async def drop(self) -> None:
        """Leave what is under way unanswered: it is an intent on file, and is resumed at the next start."""
        tasks = list(self._driven.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one record ------------------------------------------------------------------------------------------

    async def _drive(self, record: Record) -> None:
        try:
            await self._drive_far(record)
        except StoreError as error:
            self._broken = error
        except Exception as error:
            self._faulty[record.uid] = self._clock.now() + _FAULT_PAUSE
            self._failed(record.uid, error)
        finally:
            # Here and not in a callback: what is told from now on must not go to an inbox that nobody empties.
            del self._driven[record.uid]
            self._wake.set()

    async def _drive_far(self, record: Record) -> None:
        """As far as it goes without waiting. What only decides when to look is committed with what the look shows."""
        observation: Observation | None = self._received(record.uid) if record.intent is None else None
        if observation is None:
            kind = CameDue if record.intent is None else Resumed
            observation = kind(at=self._clock.now(), chance=self._chance())
        stored = record
        while observation is not None:
            policy, ask = self._rules()
            taken = step(record, observation, policy, ask=ask)
            if not taken.hasty:
                if taken.record is not stored:
                    await self._commit([replace(taken, before=stored)])
                elif taken.effect is None and isinstance(observation, CameDue):
                    self._idle_turn(record, policy, ask)
                stored = taken.record
            record = taken.record
            if taken.effect is not None:
                observation = await self._ask(record.uid, taken.effect)
            else:
                observation = self._received(record.uid)

    def _rules(self) -> tuple[Policy, bool]:
        """The policy of this moment, and whether anything may be asked for."""
        now = self._clock.now()
        policy = replace(self._policy, barred=True) if self._barrier.up(now) else self._policy
        return policy, not self._stopping and not self._gate.shut(now)

    async def _ask(self, uid: str, effect: Effect) -> Observation:
        if not effect.kind.local:
            self._asking.add(uid)
            if self._short:
                self._wake.set()  # there may be room for another one
        try:
            return await self._interpreter.perform(effect)
        finally:
            self._asking.discard(uid)

    def _idle_turn(self, record: Record, policy: Policy, ask: bool) -> None:
        """A record that is due must lead on; otherwise it would be claimed again at once, for ever."""
        now = self._clock.now()
        if self._paused:
            self._faulty[record.uid] = now + _FAULT_PAUSE  # looked at again for its privacy clock
        elif policy.barred or not (ask or self._stopping):
            self._resting[record.uid] = now + _CLOCKS  # or until the barrier falls, or the gate opens
        elif not self._stopping:
            raise Impossible(f"due in phase {record.phase}, and nothing is owed")

    def _received(self, uid: str) -> Observation | None:
        waiting = self._inbox.get(uid)
        if not waiting:
            return None
        observation = waiting.pop(0)
        if not waiting:
            del self._inbox[uid]
        return observation

    async def _commit(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        await self._store.commit(steps)
        self._heed_barrier(steps)
        for taken in steps:
            try:
                self._seen(taken)
            except Exception as error:  # it is durable: who listens and fails harms no record
                self._failed(taken.record.uid, error)

    def _heed_barrier(self, steps: Sequence[Step]) -> None:
        now = self._clock.now()
        before = self._barrier.up(now)
        for taken in steps:
            self._barrier.saw(taken.record, now)
        if before and not self._barrier.up(now):
            self._resting.clear()
            self._wake.set()
