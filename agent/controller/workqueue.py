"""The work queue: the next record to process, and the time until then. The rows of the store are the queue.

Priority: new requests, then retries and deletions, then polls. A quarter of the slots is reserved for the last two, so
that a long burst of new requests cannot delay deletions. Claimed records are released when new requests are admitted.
The queue in memory need not survive a crash: the records are claimed again [I1].
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from agent.controller.create_barrier import CreateBarrier
from agent.core.observations import Observation
from agent.core.record import Record
from agent.ports import Clock, DueRecords, Gate

_DEADLINE_INTERVAL = 60.0  # seconds between two checks of deadlines while no call is possible
_MIN_WAIT = 0.05  # seconds: the shortest wait for room
_ALL_REPLICAS = 90  # requests that several replicas work on at a time; GET dossiers shows 100 (contract §4)
_DOUBTS_INTERVAL = 1.0  # seconds between two reads of the doubtful creates of other replicas
_MAX_OVERDUE = 1000  # overdue records for each check
_RELEASE_INTERVAL = (
    0.25  # seconds between two releases of a busy replica: each is a transaction, and a claim does it too
)


class OpenGate:
    """An `agent.ports.Gate` that is always open."""

    def is_closed(self, _: float) -> bool:
        """Return False."""
        return False

    def capacity(self, _: float) -> float:
        """Return an unlimited capacity."""
        return math.inf

    def opens_at(self, now: float) -> float:
        """Return the current time."""
        return now

    def listen(self, wake: Callable[[], None]) -> None:
        """Ignore the callback: the gate never changes."""


class WorkQueue:
    """The ready and parked records, and their pending observations. `working` are the uids of active records."""

    def __init__(self, store: DueRecords, gate: Gate, barrier: CreateBarrier, clock: Clock, concurrency: int) -> None:
        self._store = store
        self._gate = gate
        self._barrier = barrier
        self._clock = clock
        self._most = self._concurrency = concurrency
        self._ready: dict[str, Record] = {}  # claimed, in order
        self._inbox: dict[str, list[Observation]] = {}
        self._received: dict[str, list[Observation]] = {}  # by uid: those whose steps are not committed yet
        self._hinted: dict[str, Observation] = {}  # by uid, in order; lost at a crash
        self._parked_until_cleared: dict[str, float] = {}  # uid -> end of the park; ends early only with `clear`
        self._claimed: set[str] = set()  # on a shared store: the records that this replica may still have claimed
        self._parked: dict[str, float] = {}  # uid -> end of the park; ends early when the gate or the barrier opens
        self._deadlines_checked_at = -math.inf  # last check of deadlines while the gate was closed
        self._released_at = -math.inf  # the last release
        self._doubts_read_at = -math.inf  # when the doubtful creates of all replicas were read
        self._has_new_work = False  # a request was admitted since the last claim
        self.at_capacity = False  # the gate has no room for all ready records

    def __contains__(self, uid: str) -> bool:
        return uid in self._ready

    @property
    def empty(self) -> bool:
        """True when no record is ready."""
        return not self._ready

    def share(self, replicas: int) -> None:
        """Let so many replicas work. All together create fewer dossiers at a time than a list of Assure shows."""
        self._concurrency = self._most if replicas == 1 else min(self._most, max(1, _ALL_REPLICAS // replicas))

    # -- what reaches it --------------------------------------------------------------------------------------

    def admitted(self) -> None:
        """Record that there is new work, which precedes claimed records."""
        self._has_new_work = True

    def enqueue(self, uid: str, observation: Observation) -> None:
        """Keep an observation for a record that is ready or active."""
        self._inbox.setdefault(uid, []).append(observation)

    def dequeue(self, uid: str) -> Observation | None:
        """Remove and return the oldest observation kept for the record."""
        waiting = self._inbox.get(uid)
        if not waiting:
            return None
        observation = waiting.pop(0)
        if not waiting:
            del self._inbox[uid]
        return observation

    def receive(self, uid: str) -> Observation | None:
        """Remove and return the oldest observation kept for the record. `restore` can keep it again until `forget`."""
        observation = self.dequeue(uid)
        if observation is not None:
            self._received.setdefault(uid, []).append(observation)
        return observation

    def restore(self, uid: str) -> None:
        """Keep received observations again, before all later ones: nothing followed from them."""
        if received := self._received.pop(uid, None):
            self._inbox[uid] = [*received, *self._inbox.get(uid, ())]

    def forget(self, uid: str) -> None:
        """Forget received observations: their steps are committed, or the record is not processed any longer."""
        self._received.pop(uid, None)

    def discard(self, uid: str, observation: Observation) -> bool:
        """Remove this observation, by identity. False when it was dequeued before or never kept."""
        waiting = self._inbox.get(uid, [])
        left = [kept for kept in waiting if kept is not observation]
        if len(left) == len(waiting):
            return False
        self._inbox[uid] = left
        if not left:
            del self._inbox[uid]
        return True

    def pending_for(self, uids: Collection[str]) -> set[str]:
        """The uids with a kept observation."""
        return self._inbox.keys() & set(uids)

    def hint(self, observations: Mapping[str, Observation]) -> None:
        """Keep observations in memory until their records are claimed, after all other work."""
        self._hinted.update((uid, seen) for uid, seen in observations.items() if uid not in self._ready)

    def park(self, uid: str, seconds: float, until_cleared: bool = False) -> None:
        """Skip the record for so many seconds. The park ends early when the gate or the barrier opens.

        With `until_cleared` it ends early only with `clear`.
        """
        (self._parked_until_cleared if until_cleared else self._parked)[uid] = self._clock.now() + seconds

    def unpark_all(self) -> None:
        """Unpark the records that waited for the gate or the barrier."""
        self._parked.clear()

    def gate_changed(self) -> None:
        """Unpark records and check deadlines again after the gate opened or closed."""
        self._deadlines_checked_at = -math.inf
        self.unpark_all()

    def clear(self) -> None:
        """Release claimed records and end all parks, because the rules changed."""
        self._ready = {}
        self._parked_until_cleared.clear()

    # -- what comes of it -------------------------------------------------------------------------------------

    async def fill(self, working: Collection[str], begun: bool) -> None:
        """Claim records when none is ready. With `begun`, only those that wait for a result or a deletion."""
        if not self._clock.confirmed:
            return
        now = self._clock.now()
        await self._follow_doubts(now)
        self._parked_until_cleared = {uid: until for uid, until in self._parked_until_cleared.items() if until > now}
        self._parked = {uid: until for uid, until in self._parked.items() if until > now}
        if self._gate.is_closed(now):
            await self._check_deadlines(now, working)
            await self.release(working)
        elif (self._has_new_work or not self._ready) and len(working) < self._concurrency and self._gate.capacity(now):
            self._has_new_work = False
            busy, most = self._busy(working), 2 * self._concurrency
            begun = begun or self._barrier.active(now)
            kept, hinted = self._kept(), [*self._hinted][:most]
            mine = {*working, *kept}
            self._ready = kept  # while the store answers, no observation may wait for a record that is released
            for record in await self._store.claim(now, most, busy | kept.keys(), begun, mine, hinted):
                self._add(record, now)
            for uid in hinted:
                self._hinted.pop(uid, None)  # the replica that processes it reads it
            self._claimed = {*mine, *self._ready}
        else:
            await self.release(working)
        self.at_capacity = self._capacity(now) < math.inf

    def take(self, working: int, asking: int) -> Record | None:
        """The next record, if there is a free slot. `asking` of the `working` records have a call in progress."""
        room = working < self._concurrency and working - asking < self._capacity(self._clock.now())
        may = room and self._clock.confirmed
        return self._ready.pop(next(iter(self._ready))) if self._ready and may else None

    async def seconds_to_wait(self, working: Collection[str], asking: int, begun: bool) -> float | None:
        """Seconds until a record can start without an event; None when only an event can start one."""
        now = self._clock.now()
        if len(working) >= self._concurrency or not self._clock.confirmed:
            return None  # the next record that ends wakes the loop, or the confirmation of the clock
        if self._gate.is_closed(now):
            times = [self._gate.opens_at(now), self._deadlines_checked_at + _DEADLINE_INTERVAL]
        elif self._ready or len(working) - asking >= self._gate.capacity(now):
            times = [max(self._gate.opens_at(now), now + _MIN_WAIT)]  # or a call of an active record wakes the loop
        else:
            falls_at = self._barrier.expires_at(now)
            due = await self._store.next_due(self._busy(working), begun or falls_at is not None)
            known = (due, falls_at, *self._parked_until_cleared.values(), *self._parked.values())
            times = [time for time in known if time is not None]
        wait = min(times, default=math.inf) - now
        return max(0.0, wait) if wait < math.inf else None

    async def _follow_doubts(self, now: float) -> None:
        """Block new creates while another replica has a doubtful one, or end the block. At most once a second."""
        if not self._store.shared or self._doubts_read_at <= now < self._doubts_read_at + _DOUBTS_INTERVAL:
            return
        self._doubts_read_at = now
        if self._barrier.follow(await self._store.creating(), now):
            self.unpark_all()

    def _capacity(self, now: float) -> float:
        return math.inf if self._gate.is_closed(now) else self._gate.capacity(now)

    def _busy(self, working: Collection[str]) -> set[str]:
        return {*working, *self._parked_until_cleared, *self._parked}

    def _kept(self) -> dict[str, Record]:
        """The ready records with a kept observation: no new claim replaces them."""
        return {uid: record for uid, record in self._ready.items() if uid in self._inbox}

    def _add(self, record: Record, now: float) -> None:
        """Add a claimed record, with its hint. A hint says nothing about a record that has a call to resume."""
        hinted = self._hinted.pop(record.uid, None)
        self._ready[record.uid] = record
        if hinted is not None and record.intent is None:
            self.enqueue(record.uid, replace(hinted, at=now))

    async def release(self, working: Collection[str]) -> None:
        """Release the records that this replica has finished, so that others may claim them before its next claim.

        While it works on others, it does so four times a second at most.
        """
        mine, now = {*working, *self._ready}, self._clock.now()
        paused = bool(mine) and self._released_at <= now < self._released_at + _RELEASE_INTERVAL
        if self._store.shared and self._claimed - mine and not paused:
            await self._store.release(mine)
            self._claimed &= mine
            self._released_at = now

    async def _check_deadlines(self, now: float, working: Collection[str]) -> None:
        """Claim overdue records while no call is possible, so that deadlines and kept observations still apply."""
        self._ready = left = self._kept()
        if not self._deadlines_checked_at <= now < self._deadlines_checked_at + _DEADLINE_INTERVAL:
            mine = {*working, *left}
            found = await self._store.overdue(now, _MAX_OVERDUE, self._busy(working) | left.keys(), mine)
            self._ready = {record.uid: record for record in found} | left
            self._claimed = {*mine, *self._ready}
            self._deadlines_checked_at = now if len(found) < _MAX_OVERDUE else -math.inf
