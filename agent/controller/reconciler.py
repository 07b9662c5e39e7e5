"""The reconcile loop: claims due records, and processes each until it waits, with bounded concurrency.

One task processes a record. Observations that arrive meanwhile wait in its queue. A waiting request is a row with a
time, never a task [I8]. A failure of one request does not affect others [I9]. Only a store that cannot be written ends
the loop, because without it the agent may not act outside [I4].
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from agent.controller.create_barrier import CreateBarrier
from agent.controller.deliveries import deliver_again
from agent.controller.interpreter import Interpreter
from agent.controller.missing_images import PAUSE, is_not_here, judge_missing
from agent.controller.workqueue import OpenGate, WorkQueue
from agent.core.errors import Impossible, Moved, StoreError
from agent.core.machine import admit, step
from agent.core.observations import Observation, Resumed, TimerFired
from agent.core.policy import Policy
from agent.core.record import Record
from agent.core.step import Step, committed_together
from agent.platform.callbacks import isolated
from agent.ports import Clock, DueRecords, Gate, Receipt

_FAULT_PAUSE = 60.0  # seconds until a record with a bug is tried again
_MOVED_PAUSE = 1.0  # seconds until a record that changed meanwhile is read again
_PARK_SECONDS = 60.0  # seconds until a blocked record is tried again, unless the block ends earlier


class Reconciler:
    """Processes records. `on_step` receives every committed step, and `on_bug` the uid and the error of a bug.

    `on_moved` receives the uid of a record that changed in the store meanwhile.

    Errors in these callbacks have no effect.
    """

    def __init__(
        self,
        store: DueRecords,
        interpreter: Interpreter,
        clock: Clock,
        policy: Policy,
        concurrency: int,
        chance: Callable[[], float],
        on_step: Callable[[Step], None] = lambda step: None,
        on_bug: Callable[[str, Exception], None] = lambda uid, error: None,
        gate: Gate | None = None,
        on_moved: Callable[[str], None] = lambda uid: None,
    ) -> None:
        self._store = store
        self._interpreter = interpreter
        self._clock = clock
        self._policy = replace(policy, started_at=min(clock.now(), store.running_since))
        self._chance = chance
        self._on_step = isolated(on_step)
        self._on_bug = isolated(on_bug)
        self._on_moved = isolated(on_moved)
        self._wake = asyncio.Event()
        self._gate = gate or OpenGate()
        self._gate.listen(self._gate_changed)
        self._barrier = CreateBarrier(policy)
        self._queue = WorkQueue(store, self._gate, self._barrier, clock, concurrency)
        self._driven: dict[str, asyncio.Task[None]] = {}
        self._committing: set[str] = set()  # records whose observations `deliver` is committing
        self._calling: set[str] = set()  # records with a call in progress
        self._stopping = False
        self._paused = False
        self._store_error: StoreError | None = None

    # -- from the source -------------------------------------------------------------------------------------

    async def admit(self, records: Sequence[Record]) -> None:
        """Admit new requests in one transaction, without those that the store has already.

        The answer to an earlier try may have got lost, and another replica may have continued a request since.
        """
        new = list(records)
        while new:
            now = self._clock.now()
            try:
                await self._commit([admit(record, now, self._policy) for record in new])
            except Moved as moved:
                self._on_moved(moved.uid)
                stored = await self._store.get_many([record.uid for record in new])
                if not stored:
                    raise
                new = [record for record in new if record.uid not in stored]
            else:
                break
        self._queue.admitted()
        self._wake.set()

    async def deliver(
        self, observations: Mapping[str, Observation], *, durable: bool = True, receipt: Receipt | None = None
    ) -> Collection[str]:
        """Deliver observations by uid. Idle records apply them now, in one transaction, active ones after their call.

        With `durable=False` an observation is a hint. It stays in memory until its record is claimed, and may be lost.
        The `receipt` of an event is committed in the transaction of the step.

        An active record keeps the observation in memory. After a crash it is resumed or still due, and reads its
        process without the event.

        Returns the uids of records that changed in the store meanwhile, at each try. They did not receive their
        observation, and the receipt is not committed if no record received one.
        """
        if not durable:
            self._queue.hint({uid: seen for uid, seen in observations.items() if not self._occupied(uid)})
            self._wake.set()
            return ()
        return await deliver_again(lambda left: self._deliver(left, receipt), observations, self._on_moved)

    async def _deliver(self, observations: dict[str, Observation], receipt: Receipt | None) -> None:
        """Deliver once, and remove those that wait in a queue from then on. Raises Moved if a record changed."""
        held = free = {uid for uid in observations if not self._occupied(uid)}
        self._committing |= free
        try:
            records = await self._store.get_many([uid for uid in observations if uid in free])
            steps = []
            for uid, observation in list(observations.items()):
                record = records.get(uid)
                if record is not None and record.intent is not None and self._store.shared:
                    raise Moved(uid)  # another replica waits for the answer to its call
                if record is None or record.intent is not None:
                    self._queue.enqueue(uid, observations.pop(uid))
                else:
                    steps.append(step(record, observation, self._delivery_policy, request_effect=False))
            uids = {item.record.uid for item in steps}
            self._committing -= free - uids
            held = uids
            await self._commit([item for item in steps if item.changed], receipt)
        finally:
            self._committing -= held
            self._wake.set()
        for uid in self._queue.pending_for(uids):  # queued during this commit
            if (waiting := self._queue.dequeue(uid)) is not None:
                for again in await self.deliver({uid: waiting}):
                    self._queue.enqueue(again, waiting)

    def retract(self, uid: str, observation: Observation) -> bool:
        """Remove an observation that still waits for a call to end. False when it was already applied."""
        return self._queue.discard(uid, observation)

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Process records until `stop`. Raises StoreError when the store cannot be written."""
        self._barrier.load(await self._store.creating(), self._policy.started_at)
        while not self._stopping and self._store_error is None:
            self._wake.clear()
            await self._queue.fill(self._working(), self._paused)
            while (record := self._queue.take(len(self._driven), len(self._calling))) is not None:
                self._driven[record.uid] = asyncio.create_task(self._drive(record))
            seconds = await self._queue.seconds_to_wait(self._working(), len(self._calling), self._paused)
            await self._clock.wait(self._wake, seconds)
        await self.wait_until_idle()
        if self._store_error is not None:
            raise self._store_error

    @property
    def paused(self) -> bool:
        """While paused, nothing new starts. Running requests are observed and deleted."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._policy = replace(self._policy, paused=paused)
        self._queue.clear()
        self._wake.set()

    @property
    def recovering(self) -> bool:
        """During recovery, new requests are held until their dossiers were searched at Assure."""
        return self._policy.recovering

    @recovering.setter
    def recovering(self, recovering: bool) -> None:
        self._policy = replace(self._policy, recovering=recovering)

    async def clock_corrected(self) -> None:
        """Restart all delays after the clock was set, and unpark records."""
        now = self._clock.now()
        self._policy = replace(self._policy, started_at=now)
        self._barrier.load(await self._store.creating(), now)
        self._queue.clear()

    def clock_confirmed(self) -> None:
        """Unpark records that waited for a confirmed clock."""
        self._queue.gate_changed()
        self._wake.set()

    def share(self, replicas: int) -> None:
        """Work on fewer requests at a time, because so many replicas work."""
        self._queue.share(replicas)

    def wake(self) -> None:
        """Check again which records are due."""
        self._wake.set()

    def stop(self) -> None:
        """Request no new effects. Calls in progress are still answered and saved."""
        self._stopping = True
        self._wake.set()

    @property
    def driven(self) -> int:
        """How many records are active."""
        return len(self._driven)

    @property
    def idle(self) -> bool:
        """True when no record is active or ready."""
        return not self._driven and self._queue.empty and not self._committing

    def _gate_changed(self) -> None:
        self._queue.gate_changed()
        self._barrier.restart(self._clock.now())
        self._wake.set()

    def _working(self) -> set[str]:
        return {*self._driven, *self._committing}

    def _occupied(self, uid: str) -> bool:
        return uid in self._driven or uid in self._committing or uid in self._queue

    async def wait_until_idle(self) -> None:
        """Release claimed records, and return once the calls in progress are answered and saved."""
        self._queue.clear()
        await self._queue.release(self._working())
        while self._driven:
            await asyncio.wait(self._driven.values())

    async def cancel_all(self) -> None:
        """Cancel calls in progress. Their intents are committed and are resumed at the next start."""
        tasks = list(self._driven.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one record ------------------------------------------------------------------------------------------

    async def _drive(self, record: Record) -> None:
        try:
            await self._run_until_waiting(record)
        except StoreError as error:
            self._store_error = error
        except Moved as moved:
            self._queue.restore(record.uid)
            self._queue.park(record.uid, _MOVED_PAUSE)
            self._on_moved(moved.uid)
        except Exception as error:
            self._queue.park(record.uid, _FAULT_PAUSE, until_cleared=True)
            self._on_bug(record.uid, error)
        finally:
            # Here and not in a callback, so that no later observation enters a queue that no task reads.
            del self._driven[record.uid]
            self._queue.forget(record.uid)
            self._wake.set()

    async def _run_until_waiting(self, record: Record) -> None:
        """Process a record until it waits. Some steps are committed with the answer to the next read."""
        observation = self._queue.receive(record.uid) if record.intent is None else None
        now = self._clock.now()
        if observation is None:
            kind = TimerFired if record.intent is None else Resumed
            observation = kind(at=now, jitter=self._chance())
        later: Step | None = None
        while observation is not None:
            policy, ask = self._current_policy(now)
            taken = step(record, observation, policy, request_effect=ask)
            whole = taken if later is None else committed_together(later, taken)
            later = whole if taken.commit_later else None
            if later is None:
                if whole.changed:
                    await self._commit([whole])
                elif taken.effect is None and isinstance(observation, TimerFired):
                    self._park_idle(record, policy, ask)
                self._queue.forget(record.uid)
            record = taken.record
            if taken.effect is None:
                observation, now = self._queue.receive(record.uid), self._clock.now()
                continue
            if not taken.effect.kind.local:
                self._calling.add(record.uid)
                if self._queue.at_capacity:
                    self._wake.set()  # there may be room for another one
            try:
                answer = await self._interpreter.perform(taken.effect)
            finally:
                self._calling.discard(record.uid)
            observation = await judge_missing(self._store, record.uid, answer)
            if is_not_here(observation):
                self._queue.park(record.uid, PAUSE, until_cleared=True)
            now = observation.at  # the interpreter has just read the clock

    def _current_policy(self, now: float) -> tuple[Policy, bool]:
        """The current policy, and True when effects may be requested."""
        confirmed = self._clock.confirmed
        policy = self._policy if confirmed else self._delivery_policy
        if self._barrier.active(now):
            policy = replace(policy, creates_blocked=True)
        return policy, confirmed and not self._stopping and not self._gate.is_closed(now)

    @property
    def _delivery_policy(self) -> Policy:
        """The policy for delivered observations. Without a confirmed clock no deadline decides."""
        return self._policy if self._clock.confirmed else replace(self._policy, clock_unconfirmed=True)

    def _park_idle(self, record: Record, policy: Policy, ask: bool) -> None:
        """Park a due record that cannot continue, so that the loop does not claim it again at once."""
        if self._paused:
            self._queue.park(record.uid, _FAULT_PAUSE, until_cleared=True)  # checked again for its deadline
        elif policy.creates_blocked or not (ask or self._stopping):
            self._queue.park(record.uid, _PARK_SECONDS)
        elif not self._stopping:
            raise Impossible(f"A record in phase {record.phase} is due, but has no next effect.")

    async def _commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        if not steps and receipt is None:
            return
        await self._store.commit(steps, receipt)
        if self._barrier.update([taken.record for taken in steps], self._clock.now()):
            self._queue.unpark_all()
            self._wake.set()
        for taken in steps:
            self._on_step(taken)
