"""The store under any order of admissions, steps, crashes and reopenings [I1] [I4] [I5].

A model keeps, per request, the record that was committed last; whatever the store is asked has to follow from it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.core.effect import EffectKind
from agent.core.errors import Moved, StoreError
from agent.core.machine import step
from agent.core.observations import DocumentRemoved, EffectDelayed, EffectUnanswered, Resumed
from agent.core.personal_data import without_origins
from agent.core.record import Origin, Phase, Record
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal
from agent.core.step import Step
from agent.ports import Command
from tests.store.engines import Engine, PostgresEngine, SqliteEngine
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import DEFAULT_POLICY, LINK, Life
from verification.builders.records import NOW, ORIGIN, capture, upload
from verification.mutations import mutated

COMMITS = st.sampled_from(["a" * 40, "b" * 40, "c" * 40])
NEVER = 4e9  # seconds since the epoch: later than anything is due


T = TypeVar("T")
Begin = Callable[[], Engine]


class Storing(RuleBasedStateMachine):
    """A store, and what it has to know."""

    lives = Bundle("lives")

    def __init__(self, begin: Begin) -> None:
        super().__init__()
        self.engine = begin()
        self.loop = asyncio.new_event_loop()
        self.run(self.engine.begin())
        self.store = self.run(self.engine.open())
        self.known: dict[str, Record] = {}
        self.admitted = self.commands = 0
        self.orphans: set[str] = set()
        self.origins: dict[str, Origin] = {}  # by uid
        self.acted: Revision | None = None
        self.refused: str | None = None
        self.failure: FetchFailure | None = None

    def teardown(self) -> None:
        self.run(self.store.aclose())
        self.run(self.engine.end())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def commit(self, *steps: Step) -> None:
        self.run(self.store.commit(steps))
        for one in steps:
            self.known[one.record.uid] = without_origins(one.record)
            if one.orphan is not None:
                self.orphans.add(one.orphan)

    # -- what happens ------------------------------------------------------------------------------------------

    @initialize()
    def a_new_file(self) -> None:
        assert self.run(self.store.claim(NEVER, 10, set())) == []

    @rule(
        target=lives,
        by_capture=st.booleans(),
        retention=st.sampled_from((0.0, 60.0)),
        origin=st.sampled_from((None, Origin(author="Bob"), ORIGIN)),
    )
    def admit(self, by_capture: bool, retention: float, origin: Origin | None = None) -> Life:
        wanted = (capture if by_capture else upload)(retention=retention, file="a.yaml", origin=origin)
        self.admitted += 1
        life = Life(f"u{self.admitted}", wanted)
        if origin is not None:
            self.origins[life.record.uid] = origin
        self.commit(life.steps[0])
        return life

    @rule(life=lives)
    def goes_on(self, life: Life) -> None:
        if life.record.phase is Phase.DONE or life.record.hold is not None:
            return
        before = len(life.steps)
        life.goes_on()
        self.commit(*life.steps[before:])

    @rule(first=lives, second=lives)
    def two_go_on_in_one_commit(self, first: Life, second: Life) -> None:
        steps: list[Step] = []
        for life in {id(first): first, id(second): second}.values():
            if life.record.phase is not Phase.DONE and life.record.hold is None:
                before = len(life.steps)
                life.goes_on()
                steps += life.steps[before:]
        self.commit(*steps)

    @rule(life=lives, how=st.sampled_from(("unknown", "busy", "crash", "removed")))
    def meets_trouble(self, life: Life, how: str) -> None:
        intent = life.record.intent
        before = len(life.steps)
        if how == "removed":
            if intent is None:
                life.sees(DocumentRemoved)
        elif intent is not None:
            seen = {"unknown": EffectUnanswered, "busy": EffectDelayed}.get(how)
            life.sees(seen, kind=intent.kind) if seen is not None else life.sees(Resumed)
        self.commit(*life.steps[before:])

    @rule(life=lives)
    def a_step_of_an_older_version_is_refused(self, life: Life) -> None:
        if len(life.steps) < 2:
            return
        try:
            self.run(self.store.commit([life.steps[-1]]))
        except Moved:
            return
        raise AssertionError("committed twice")

    @rule(life=lives, other=lives)
    def all_or_none(self, life: Life, other: Life) -> None:
        """A commit with one step that cannot be leaves the other as it was."""
        if life is other or len(other.steps) < 2 or life.record.phase is Phase.DONE or life.record.hold is not None:
            return
        before, good = life.at, step(life.record, Resumed(at=life.at + 1), DEFAULT_POLICY)
        if not good.changed:
            return
        try:
            self.run(self.store.commit([good, other.steps[-1]]))
        except Moved:
            life.at = before
            return
        raise AssertionError("committed with a step that is none")

    @rule(life=lives)
    def a_commit_fails(self, life: Life) -> None:
        """The engine refuses one of its rows: no step is in a table, and the writer remembers none of them."""
        if life.record.phase is Phase.DONE or life.record.hold is not None or not life.record.name:
            return
        before = len(life.steps)
        life.goes_on()
        self.admitted += 1
        refused = Life(f"u{self.admitted}", name=life.record.name).steps  # two requests of one name
        try:
            self.run(self.store.commit([*life.steps[before:], *refused]))
        except StoreError:
            self.it_knows_what_was_committed()
            self.commit(*life.steps[before:])
            return
        raise AssertionError("committed two requests of one name")

    @rule(life=lives)
    def an_operator_commands(self, life: Life) -> None:
        """It adds an event to the history of this request, between two of its steps."""
        self.commands += 1
        command = Command(id=f"c{self.commands}", verb="resolve", uid=life.record.uid)
        self.run(self.store.apply_command(command, "", NOW))

    @rule(life=consumes(lives))
    def forget(self, life: Life) -> None:
        uid = life.record.uid
        if life.record.phase is Phase.DONE:
            self.run(self.store.forget(uid, NOW))
            self.known.pop(uid)
            self.origins.pop(uid, None)

    @rule(commit=COMMITS, failure=st.sampled_from((None, FetchFailure.DNS)))
    def refresh_refused(self, commit: str, failure: FetchFailure | None) -> None:
        """The server has this revision, and the agent may not act on it."""
        refused = RefusedRevision(revision=commit, reason=RevisionRefusal.UNSIGNED, commit=commit, since=NOW)
        self.run(self.store.record_refresh("default", NOW, True, refused, failure))
        self.refused, self.failure = commit, failure

    @rule(failure=st.sampled_from((None, FetchFailure.DNS)))
    def refresh(self, failure: FetchFailure | None) -> None:
        self.run(self.store.record_refresh("default", NOW, failure is None, None, failure))
        self.refused, self.failure = self.refused if failure is not None else None, failure

    @rule(commit=COMMITS)
    def scan(self, commit: str) -> None:
        self.acted = Revision(commit=commit, committed_at=NOW, signer=ORIGIN.signer)
        scanned = self.store.record_scan("default", NOW, 1, True, 0, None, revision=self.acted)
        self.run(scanned)
        self.refused = None if self.refused == commit else self.refused

    @rule()
    def reopened(self) -> None:
        self.run(self.store.aclose())
        self.store = self.run(self.engine.open())

    @rule()
    def killed(self) -> None:
        """Another agent opens what it left."""
        self.run(self.engine.kill(self.store))
        self.store = self.run(self.engine.open())

    # -- what holds --------------------------------------------------------------------------------------------

    @invariant()
    def it_knows_what_was_committed(self) -> None:
        for uid, record in self.known.items():
            assert self.run(self.store.get(uid)) == record, "[I4]"

    @invariant()
    def it_knows_the_revision(self) -> None:
        state = self.run(self.store.revision_state("default"))
        refused = state.refused and state.refused.revision
        assert (state.acted, refused, state.failure) == (self.acted, self.refused, self.failure), "[I4]"

    @invariant()
    def it_knows_who_asked(self) -> None:
        rows = self.run(self.engine.rows("SELECT uid, author, file_commit, signer FROM provenance"))
        found = {uid: Origin(author=author, file_commit=commit, signer=signer) for uid, author, commit, signer in rows}
        assert found == self.origins, "[I5], and none of those that were forgotten [I6]"

    @invariant()
    def it_gives_out_what_is_due(self) -> None:
        claimed = {record.uid for record in self.run(self.store.claim(NEVER, 1000, set()))}
        assert claimed == {uid for uid, record in self.known.items() if record.due_at is not None}, "[I1]"
        times = [record.due_at for record in self.known.values() if record.due_at is not None]
        assert self.run(self.store.next_due(set())) == min(times, default=None)
        priorities = [record.priority for record in self.run(self.store.claim(NEVER, 1000, set()))]
        assert priorities == sorted(priorities)
        assert self.run(self.store.unsettled()) == any(record.progressing for record in self.known.values())

    @invariant()
    def it_knows_who_waits_and_what_may_turn_up(self) -> None:
        waiting = [record for record in self.known.values() if record.phase is Phase.RESULT]
        assert self.run(self.store.waiting()).count == len(waiting)
        assert {one[0] for one in self.run(self.store.orphans())} == self.orphans, "[I3]"

    @invariant()
    def it_has_an_attempt_for_each_intent(self) -> None:
        rows = self.run(self.engine.rows("SELECT uid, count(*), count(answered_at) FROM attempts GROUP BY uid"))
        with self.engine.reading() as reading:
            links = {uid for uid in self.known if reading.link(uid) == LINK}
        reported = {row[0]: (row[1], row[2]) for row in rows}
        for uid, record in self.known.items():
            open_ones = record.intent is not None
            assert reported.get(uid, (0, 0)) == (record.intents, record.intents - open_ones), "[I4]"
            handed_out = record.phase is Phase.RESULT and record.desired.mode == "capture"
            assert (uid in links) == handed_out, "a link lives while a person may use it [I6]"

    @precondition(lambda self: self.known)
    @invariant()
    def its_history_is_whole(self) -> None:
        assert self.engine.faults() == [], "[I5]"


@pytest.fixture
def begin(tmp_path: Path, server: PostgresServer | None) -> Begin:
    """A function that makes room for one store after the other."""
    numbers = count()

    def fresh() -> Engine:
        folder = tmp_path / str(next(numbers))
        return SqliteEngine(folder) if server is None else PostgresEngine(folder, server)

    return fresh


def test_any_order_leaves_what_was_committed(begin: Begin, server: PostgresServer | None) -> None:
    examples = settings(
        max_examples=20 if server is None else 8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(partial(Storing, begin), settings=examples)


def test_the_machine_finds_a_store_that_writes_no_attempts(begin: Begin) -> None:
    """It bites."""
    with mutated("torn-commit"):
        machine = Storing(begin)
        try:
            life = machine.admit(by_capture=True, retention=0.0)
            machine.goes_on(life)
            assert life.record.intent is not None
            assert life.record.intent.kind is EffectKind.CREATE_DOSSIER
            try:
                machine.it_has_an_attempt_for_each_intent()
            except AssertionError:
                return
            raise AssertionError("nothing was found")
        finally:
            machine.teardown()
