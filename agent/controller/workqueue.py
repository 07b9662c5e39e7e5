"""Whom to drive next, and when to look again. The rows of the store are the queue; here is what was taken of it.

New work goes first, then what is tried again or deleted, then looks at what waits; but a quarter of the places is
theirs, so that no lasting rush keeps a dossier from its deletion. What is claimed ahead is given back when something
new is admitted. Nothing here is worth keeping: after a crash it is claimed again [I1].
"""

import math
from collections.abc import Callable, Collection, Iterable

from agent.controller.create_barrier import Barrier
from agent.core.observations import Observation, ResultSighted
from agent.core.record import Record
from agent.ports import Clock, Gate, Store

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


class WorkQueue:
    """Knows who is ready, who rests, and what reached them meanwhile. `working` are the uids that are being driven."""

    def __init__(self, store: Store, gate: Gate, barrier: Barrier, clock: Clock, concurrency: int) -> None:
        self._store = store
        self._gate = gate
        self._barrier = barrier
        self._clock = clock
        self._concurrency = concurrency
        self._ready: dict[str, Record] = {}  # claimed, in order
        self._inbox: dict[str, list[Observation]] = {}
        self._sighted: dict[str, None] = {}  # uids whose result is there, in order; a hint that nothing keeps
        self._apart: dict[str, float] = {}  # uid -> until when, whatever happens
        self._resting: dict[str, float] = {}  # uid -> until when, or until the gate opens or the barrier falls
        self._clocks_at = -math.inf  # when deadlines were last looked at while the gate was shut
        self._fresh = False  # something was admitted since the last claim
        self.short = False  # the gate had no room for all that is ready

    def __contains__(self, uid: str) -> bool:
        return uid in self._ready

    @property
    def empty(self) -> bool:
        """True when nobody is ready."""
        return not self._ready

    # -- what reaches it --------------------------------------------------------------------------------------

    def admitted(self) -> None:
        """There is new work: it goes before what was claimed ahead."""
        self._fresh = True

    def hear(self, uid: str, observation: Observation) -> None:
        """Keep it for a record that is ready or driven."""
        self._inbox.setdefault(uid, []).append(observation)

    def heard(self, uid: str) -> Observation | None:
        """The oldest of what was kept for it."""
        waiting = self._inbox.get(uid)
        if not waiting:
            return None
        observation = waiting.pop(0)
        if not waiting:
            del self._inbox[uid]
        return observation

    def unhear(self, uid: str, observation: Observation) -> bool:
        """Forget this very one. False: it was heard before, or never kept."""
        waiting = self._inbox.get(uid, [])
        left = [kept for kept in waiting if kept is not observation]
        if len(left) == len(waiting):
            return False
        self._inbox[uid] = left
        if not left:
            del self._inbox[uid]
        return True

    def hearing(self, uids: Collection[str]) -> set[str]:
        """Those of them for whom something is kept."""
        return self._inbox.keys() & set(uids)

    def sight(self, uids: Iterable[str]) -> None:
        """The results of these are there: look at them in their turn."""
        self._sighted.update((uid, None) for uid in uids if uid not in self._ready)

    def rest(self, uid: str, seconds: float, whatever: bool = False) -> None:
        """Leave it alone for so long, or until the gate opens or the barrier falls; `whatever`: or until `clear`."""
        (self._apart if whatever else self._resting)[uid] = self._clock.now() + seconds

    def roused(self) -> None:
        """The barrier fell: whoever rested for it is looked at again."""
        self._resting.clear()

    def gate_moved(self) -> None:
        """It opened or was shut: all who rested are looked at again, and deadlines too."""
        self._clocks_at = -math.inf
        self.roused()

    def clear(self) -> None:
        """What was claimed was claimed under another rule."""
        self._ready.clear()
        self._apart.clear()

    # -- what comes of it -------------------------------------------------------------------------------------

    def fill(self, working: Collection[str], begun: bool) -> None:
        """Claim some when nobody is ready; with `begun`, those that wait for their result or deletion alone."""
        if not self._clock.confirmed:
            return
        now = self._clock.now()
        self._apart = {uid: until for uid, until in self._apart.items() if until > now}
        self._resting = {uid: until for uid, until in self._resting.items() if until > now}
        if self._gate.shut(now):
            self._look_at_deadlines(now, working)
        elif (self._fresh or not self._ready) and len(working) < self._concurrency and self._gate.room(now):
            self._claim(now, working, begun)
        self.short = self._room(now) < math.inf

    def take(self, working: int, asking: int) -> Record | None:
        """Who is next, if there is room for another one beside so many, of whom so many have a call under way."""
        room = working < self._concurrency and working - asking < self._room(self._clock.now())
        may = room and self._clock.confirmed
        return self._ready.pop(next(iter(self._ready))) if self._ready and may else None

    def pause(self, working: Collection[str], asking: int, begun: bool) -> float | None:
        """How long nothing new can be begun, unless something happens; None: until then."""
        now = self._clock.now()
        if len(working) >= self._concurrency or not self._clock.confirmed:
            return None  # the next that ends wakes us, or who confirms the time
        if self._gate.shut(now):
            times = [self._gate.opens_at(now), self._clocks_at + _CLOCKS]
        elif self._ready or len(working) - asking >= self._gate.room(now):
            times = [max(self._gate.opens_at(now), now + _MOMENT)]  # or one of those at hand asks first, and wakes us
        else:
            falls_at = self._barrier.falls_at(now)
            due = self._store.next_due(self._busy(working), begun or falls_at is not None)
            known = (due, falls_at, *self._apart.values(), *self._resting.values())
            times = [time for time in known if time is not None]
        wait = min(times, default=math.inf) - now
        return max(0.0, wait) if wait < math.inf else None

    def _room(self, now: float) -> float:
        return math.inf if self._gate.shut(now) else self._gate.room(now)

    def _busy(self, working: Collection[str]) -> set[str]:
        return {*working, *self._apart, *self._resting}

    def _claim(self, now: float, working: Collection[str], begun: bool) -> None:
        self._fresh = False
        kept = {uid: record for uid, record in self._ready.items() if uid in self._inbox}
        busy, most = self._busy(working), 2 * self._concurrency
        claimed = self._store.claim(now, most, busy | kept.keys(), begun or self._barrier.up(now))
        self._ready = {record.uid: record for record in claimed} | kept
        while self._sighted and len(self._ready) < most:  # last, like everybody who waits for a result
            uid = next(iter(self._sighted))
            del self._sighted[uid]
            record = None if uid in busy or uid in self._ready else self._store.get(uid)
            if record is not None and record.intent is None:
                self._ready[uid] = record
                self.hear(uid, ResultSighted(at=now))

    def _look_at_deadlines(self, now: float, working: Collection[str]) -> None:
        """Nothing can be asked; deadlines are kept all the same, and what was heard is folded in."""
        left, self._ready = self._ready, {}
        if not self._clocks_at <= now < self._clocks_at + _CLOCKS:
            found = self._store.overdue(now, _MANY, self._busy(working))
            self._ready = {record.uid: record for record in found}
            self._clocks_at = now if len(found) < _MANY else -math.inf
        self._ready.update({uid: record for uid, record in left.items() if uid in self._inbox})
