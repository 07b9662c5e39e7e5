"""The state machine, explored: every history with a limited number of adversities, each at every possible place.

A state is a record in a world: the objects at Assure, calls on their way, and the request file. From each state the
exploration makes the move without adversity. While adversities are left, it makes every other move as well. That is a
failure of a call, a crash at a boundary, a takeover by another replica, an edit, a command, or a sleep. States are
equal if the machine cannot distinguish them (`verification/state_identity.py`). Without adversities the exploration
follows a history to its end.

In every reached state, I1 to I5 hold (`verification/state_invariants.py`), and a query of a real store selects the
record. Without further adversities, the record becomes done or waits for the operator.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from agent.core.effect import ReserveStart
from agent.core.machine import TABLE, admit, step
from agent.core.observations import (
    BudgetExhausted,
    HoldResolved,
    Observation,
    RerunRequested,
    ResultAvailable,
    Resumed,
    RetryRequested,
    StartReserved,
    TimerFired,
)
from agent.core.policy import Policy
from agent.core.record import Desired, HoldAnswer, Phase
from verification.assure_model import AssureModel
from verification.builders.records import NOW, digested, observation_from_source, unadmitted
from verification.choices import Timings
from verification.exhaustive_choices import ExhaustiveChoices
from verification.query_coverage import QueryCoverage
from verification.report import progress
from verification.state import State, copied
from verification.state_identity import key
from verification.state_invariants import check_state

_SLEEP = 200.0  # seconds: longer than every grace
_MISSED = 12.0  # seconds that a crash takes
_TAKEOVER = 20.0  # seconds: the lease of a replica, and the interval of its renewal


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The start of an exploration."""

    name: str
    desired: Desired
    policy: Policy
    paces: Timings


@dataclass(slots=True)
class ExplorationResult:
    """The result of one exploration."""

    name: str
    states: int = 0
    moves: int = 0
    depth: int = 0
    records: int = 0
    edges: Counter[tuple[Phase, str, Phase]] = field(default_factory=Counter)
    phases: Counter[Phase] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


Move = Callable[[State], None]


class Exploration:
    """Breadth first, from one start."""

    def __init__(self, start: Start, adversities: int, selection: QueryCoverage) -> None:
        self._start = start
        self._policy = start.policy
        self._adversities = adversities
        self._selection = selection
        self._without_adversity: dict[int, list[int]] = {}  # state -> the next states without adversity
        self._settled: set[int] = set()
        self._seen: set[int] = set()
        self._paths: dict[int, tuple[str, ...]] = {}
        self.found = ExplorationResult(start.name)

    def run(self, limit: int) -> ExplorationResult:
        """Explore until there are no new states, a violation was found, or `limit` states were visited."""
        found, selection = self.found, self._selection
        waiting = deque([self._begin()])
        self._remember(waiting[0])
        while waiting and not found.wrong and found.states < limit:
            state = waiting.popleft()
            found.states += 1
            found.depth = max(found.depth, len(state.moves_so_far))
            found.phases[state.record.phase] += 1
            found.records += selection.add(state.record)
            here = key(state)
            nexts = 0
            for calm, successor in self._successors(state):
                nexts += calm
                found.moves += 1
                number = key(successor)
                if calm:
                    self._without_adversity.setdefault(number, []).append(here)
                if number not in self._seen:
                    self._remember(successor)
                    waiting.append(successor)
            if not nexts and not found.wrong:
                self._ends(state, here)
            if found.states % 5000 == 0:
                progress(f"{found.name}: {found.states} states, {len(waiting)} waiting")
        if not found.wrong:
            found.wrong += [f"I1 {one}" for one in self._stuck()] if not waiting else []
            found.wrong += selection.missed()
        return found

    def _remember(self, state: State) -> None:
        number = key(state)
        self._seen.add(number)
        self._paths[number] = state.moves_so_far[-40:]

    def _begin(self) -> State:
        desired = self._start.desired
        taken = admit(unadmitted(desired), NOW, self._policy)
        assure = AssureModel(ExhaustiveChoices(), lag=4.0, adversities=0.5, timings=self._start.paces)
        state = State(taken.record, assure, desired, taken.effect, NOW, frozenset(), self._adversities)
        check_state(state, taken, self._policy)
        return state

    # -- moves -------------------------------------------------------------------------------------------------

    def _successors(self, state: State) -> Iterator[tuple[bool, State]]:
        """Yield every state that one move leads to. True marks the move without adversity."""
        for name, move, adverse in self._moves(state):
            if adverse and not state.left:
                continue
            ways = ExhaustiveChoices(state.left - adverse)
            while ways.next_path():
                after = copied(state, ways)
                try:
                    move(after)
                except Exception as error:
                    self._report(after, f"{name}: {type(error).__name__}: {error}")
                    return
                after.left = ways.left
                yield not adverse and ways.left == state.left, after
                if self.found.wrong:
                    return

    def _moves(self, state: State) -> Iterator[tuple[str, Move, bool]]:
        if state.effect is not None:
            yield "answered", self._answered, False
            if state.effect.kind.mutates:
                yield "crashed", self._crashed, True
                yield "taken over", self._taken_over, True
            yield "ended", self._ended, True
            return
        if state.record.intent is not None:
            yield "resumed", self._resumed, False
            return
        yield from self._deliver_source(state)
        if state.record.due_at is not None:
            yield "came due", self._came_due, False
            yield "slept", self._slept, True

    def _deliver_source(self, state: State) -> Iterator[tuple[str, Move, bool]]:
        """The possible observations of the source and commands of the operator."""
        record, at = state.record, state.now
        for file in _edits(state.file, self._start.desired):
            if file != state.file:
                yield "edited", partial(self._edited, file), True
        said: list[Observation] = [ResultAvailable(at=at), RetryRequested(at=at)]
        if state.file is not None:
            said.append(RerunRequested(at=at, desired=replace(state.file, rerun=f"p{record.generation}")))
        if record.hold is not None:
            following = next((one.dossier_id for one in state.assure.open_dossiers()), None)
            desired = state.file if record.hold.reason.about_document else None
            said += [
                HoldResolved(at=at, hold_id=record.hold.id, answer=answer, desired=desired, dossier_id=following)
                for answer in HoldAnswer
            ]
        for one in said:
            yield "observed", partial(self._describe_move, one), True

    def _answered(self, state: State) -> None:
        effect = state.effect
        assert effect is not None
        if isinstance(effect, ReserveStart):
            spent = state.assure.chance.happens(0.5)
            self._record_state(
                state, BudgetExhausted(at=state.now, until=state.now + 50) if spent else StartReserved(at=state.now)
            )
            return
        seen, state.now = state.assure.perform(effect, state.now)
        self._record_state(state, seen)

    def _crashed(self, state: State) -> None:
        """Crash after the commit of the intent. The call was not sent, or acts now or later."""
        assert state.effect is not None
        state.assure.crash(state.effect, state.now)
        state.now += _MISSED
        self._record_state(state, Resumed(at=state.now))

    def _taken_over(self, state: State) -> None:
        """Another replica takes over at the end of the lease, and the call was sent a moment before, or never."""
        assert state.effect is not None
        state.now += _TAKEOVER
        state.assure.crash(state.effect, state.now)
        self._record_state(state, Resumed(at=state.now))

    def _resumed(self, state: State) -> None:
        self._record_state(state, Resumed(at=state.now))

    def _ended(self, state: State) -> None:
        """Save the answer, send nothing more, and let another agent continue later."""
        assert state.effect is not None
        if isinstance(state.effect, ReserveStart):
            state.effect = None
            return
        seen, state.now = state.assure.perform(state.effect, state.now)
        self._record_state(state, seen, ask=False)
        state.now += _MISSED

    def _came_due(self, state: State) -> None:
        assert state.record.due_at is not None
        state.now = max(state.now, state.record.due_at)
        self._record_state(state, TimerFired(at=state.now))

    def _slept(self, state: State) -> None:
        """Let time pass without a poll."""
        assert state.record.due_at is not None
        state.now = max(state.now, state.record.due_at) + _SLEEP
        self._record_state(state, TimerFired(at=state.now))

    def _describe_move(self, seen: Observation, state: State) -> None:
        self._record_state(state, seen)

    def _edited(self, file: Desired | None, state: State) -> None:
        """Replace or remove the file."""
        state.file = file
        if (news := observation_from_source(state.record, file, state.now)) is not None:
            self._record_state(state, news)

    def _record_state(self, state: State, seen: Observation, *, ask: bool = True) -> None:
        before = state.record
        taken = step(before, seen, self._policy, ask)
        folded = TABLE[before.phase][type(seen)].rule(before, seen, self._policy)
        self.found.edges[before.phase, type(seen).__name__, folded.phase] += 1
        state.record, state.effect = taken.record, taken.effect
        state.moves_so_far = (*state.moves_so_far, f"{state.now - NOW:.1f} {type(seen).__name__}")
        if taken.orphan is not None:
            state.orphans |= {taken.orphan}
        check_state(state, taken, self._policy)
        if state.effect is None and state.record.intent is None:
            news = observation_from_source(state.record, state.file, state.now)
            if news is not None and not isinstance(seen, type(news)):
                self._record_state(state, news)

    def _ends(self, state: State, here: int) -> None:
        """Check a state without further moves: the request is done or waits for the operator."""
        record = state.record
        if record.state not in ("done", "held", "suspended"):
            self._report(state, f"the record stops in state {record.state} [I1]")
        elif record.phase is Phase.DONE:
            left = [one.reference for one in state.assure.open_dossiers() if one.reference not in state.orphans]
            if left:
                self._report(state, f"not deleted: {left} [I3]")
        self._settled.add(here)

    def _stuck(self) -> Iterable[str]:
        """States from which no way without further adversities leads to an end."""
        reached, waiting = set(self._settled), list(self._settled)
        while waiting:
            for before in self._without_adversity.get(waiting.pop(), ()):
                if before not in reached:
                    reached.add(before)
                    waiting.append(before)
        never = self._seen - reached
        return [f"{len(never)} states never settle, such as {' | '.join(self._paths[min(never)])}"] if never else []

    def _report(self, state: State, what: str) -> None:
        self.found.wrong.append(f"{self._start.name}: {what}\n    " + "\n    ".join(state.moves_so_far[-40:]))


def _edits(file: Desired | None, original: Desired) -> list[Desired | None]:
    """The possible edits of the file."""
    now = file or original
    return [
        None,
        original,
        digested(replace(now, essence="two")),
        digested(replace(now, suspend=not now.suspend)),
        digested(replace(now, deadline=60.0)),
        digested(replace(now, retention=90.0)),
        digested(replace(now, rerun="t1")),
    ]
