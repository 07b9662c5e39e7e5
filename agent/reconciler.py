"""The drive loop: claims what is due, drives each record as far as it goes without waiting, bounded in number.

A record is driven by one task at a time; whatever reaches it meanwhile waits in its inbox. A waiting request is a row
with a time, never a task [I8], and what goes wrong with one request stays with it [I9]: only a store that cannot be
written ends the loop, because without it nothing may be told to the outside [I4].
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agent.core.errors import Impossible, StoreError
from agent.core.machine import Step, admit, step
from agent.core.observation import CameDue, Observation, Resumed
from agent.core.policy import Policy
from agent.core.record import Record
from agent.interpreter import Interpreter
from agent.ports import Clock, Store

_FAULT_PAUSE = 60.0  # seconds until a record that met a bug of ours is tried again


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
        self._faulty: dict[str, float] = {}  # uid -> when to try again
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

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive until `stop`. Raises StoreError when the store cannot be written."""
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
        if not self._ready and len(self._driven) < self._concurrency:
            now = self._clock.now()
            self._faulty = {uid: until for uid, until in self._faulty.items() if until > now}
            claimed = self._store.claim(now, 2 * self._concurrency, self._busy(), self.paused)
            self._ready = {record.uid: record for record in claimed}
        while self._ready and len(self._driven) < self._concurrency:
            self._start(self._ready.pop(next(iter(self._ready))))

    def _start(self, record: Record) -> None:
        self._driven[record.uid] = asyncio.create_task(self._drive(record))

    def _pause(self) -> float | None:
        if len(self._driven) >= self._concurrency:
            return None  # the next that ends wakes us
        due = self._store.next_due(self._busy(), self.paused)
        times = [*self._faulty.values(), *([due] if due is not None else [])]
        return max(0.0, min(times) - self._clock.now()) if times else None

    def _busy(self) -> set[str]:
        return {*self._driven, *self._told, *self._faulty}

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
        kind = CameDue if record.intent is None else Resumed
        observation: Observation | None = kind(at=self._clock.now(), chance=self._chance())
        try:
            while observation is not None:
                taken = step(record, observation, self._policy, ask=not self._stopping)
                if taken.changed:
                    await self._commit([taken])
                elif taken.effect is None and isinstance(observation, CameDue):
                    self._idle_turn(record)
                record = taken.record
                if taken.effect is not None:
                    observation = await self._interpreter.perform(taken.effect)
                else:
                    observation = self._received(record.uid)
        except StoreError as error:
            self._broken = error
        except Exception as error:
            self._faulty[record.uid] = self._clock.now() + _FAULT_PAUSE
            self._failed(record.uid, error)
        finally:
            # Here and not in a callback: what is told from now on must not go to an inbox that nobody empties.
            del self._driven[record.uid]
            self._wake.set()

    def _idle_turn(self, record: Record) -> None:
        """A record that is due must lead on; otherwise it would be claimed again at once, for ever."""
        if self._paused:
            self._faulty[record.uid] = self._clock.now() + _FAULT_PAUSE  # looked at again for its privacy clock
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
        for taken in steps:
            try:
                self._seen(taken)
            except Exception as error:  # it is durable: who listens and fails harms no record
                self._failed(taken.record.uid, error)
