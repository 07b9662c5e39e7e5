"""Recovery of a lost or restored store in the middle of random walks [I1, I2, I3, I5].

The store is lost, or an earlier record replaces the current one, while Assure keeps its state. Then the record
receives the dossiers under its references, and its holds are not resolved.
"""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from story import (
    NOW,
    POLICY,
    Story,
    at_create,
    at_deletion,
    at_done,
    at_images,
    at_process,
    at_start,
    capture,
    listed,
    observation_from_source,
    seeds,
    unadmitted,
    upload,
)
from test_machine_explored import LENGTH, Walk

from agent.core.assure_types import DossierReading, FoundDossier, ListedProcess, ProcessType, Status
from agent.core.audit import Audited
from agent.core.effect import EffectKind, ReadDossier, StartCapture, StartVerification
from agent.core.lost_answers import started_process
from agent.core.machine import admit, step
from agent.core.next_effect import effect_for
from agent.core.observations import (
    DocumentChanged,
    DossierRead,
    DossierSearched,
    EffectDelayed,
    EffectRefused,
    HistoryLost,
    HoldResolved,
    Resumed,
)
from agent.core.policy import Policy
from agent.core.record import HoldAnswer, HoldReason, Phase, Record
from agent.core.rules.recovery import proves_store_is_stale

WALKS = 400
met: Counter[tuple[Phase, Phase, str]] = Counter()
noticed: Counter[tuple[Phase, bool, bool]] = (
    Counter()
)  # restored phase, Assure proves a rollback, something was started


class Regained(Walk):
    """A walk whose store is lost or restored."""

    def __init__(self, random: Random) -> None:
        self.kept: list[tuple[Record, Audited]] = []
        self.explained: set[str] = set()
        self.lost = False
        super().__init__(random)

    def take(self, taken: object) -> None:
        super().take(taken)  # type: ignore[arg-type]
        self.kept.append((self.record, self.history))

    def loses(self) -> None:
        """Lose or restore the store. Calls in progress have ended, and lists are current."""
        self.lost = True
        self.now += 60.0
        self.assure.lag = 0.0
        self.effect = None
        self.bound = {}  # the lost store contained the requested starts
        if self.random.random() < 0.5 and self.file is not None:
            self.policy = replace(self.policy, recovering=True)
            self.history = {}
            self.take(admit(unadmitted(self.file), self.now, self.policy))
        else:
            self.policy = replace(self.policy, recovering=True, paused=True)
            self.record, self.history = self.random.choice(self.kept)
        if self.record.intent is not None:
            self.see(Resumed(at=self.now), ask=False)
        news = observation_from_source(self.record, self.file, self.now) if self.random.random() < 0.5 else None
        if news is not None:
            self.see(news, ask=False)
        self.search_assure()

    def search_assure(self) -> None:
        shown = tuple(self.assure.shown(self.now))
        before = self.record.phase
        self.see(HistoryLost(at=self.now, found=shown))
        hold = self.record.hold
        reason = hold.evidence if hold is not None and hold.reason is HoldReason.HISTORY_LOST else ""
        met[before, self.record.phase, reason] += 1
        for one in shown:  # as the recovery does: empty dossiers of the past become possible orphans
            reference = f"aa-{self.record.agent}-{self.record.uid}-{one.generation}-{one.attempt}"
            if one.dossier_id != self.record.dossier_id:
                self.orphans.add(reference)

    def wait(self) -> None:
        before = self.now, self.record
        super().wait()
        if (self.now, self.record) == before:
            self.now += 3600.0  # paused and due, so it is checked again for its deadline

    def settles(self) -> None:
        """A paused record settles, except work that would continue in an existing dossier. New work is held."""
        try:
            super().settles()
        except AssertionError as error:
            owed = effect_for(self.record, self.now, self.policy).kind if self.record.due_at is not None else None
            begins = (
                owed is not None
                and owed.starts_work
                and owed not in (EffectKind.CREATE_DOSSIER, EffectKind.START_CAPTURE)
            )
            if not (self.policy.paused and begins and "not settled" in str(error)):
                raise

    def every_dossier_is_accounted_for(self) -> None:
        if not self.lost:
            super().every_dossier_is_accounted_for()

    def nothing_is_unknown(self) -> None:
        if not self.lost:
            super().nothing_is_unknown()


class PutBackWhole(Regained):
    """A walk whose complete state folder is restored, so that only Assure shows it."""

    def loses(self) -> None:
        self.lost = True
        self.now += 60.0
        self.assure.lag = 0.0
        self.effect = None
        self.bound = {}
        self.record, self.history = self.random.choice(self.kept)
        self.file = self.record.next or self.record.desired if self.record.present else None
        shown = self.assure.shown(self.now)
        signs = any(proves_store_is_stale(self.record, one) for one in shown)
        billed = any(started_process(one.processes) is not None for one in shown)
        noticed[self.record.phase, signs, billed] += 1
        if self.record.intent is not None:
            self.see(Resumed(at=self.now), ask=False)
        if signs:
            self.policy = replace(self.policy, recovering=True, paused=True)
            self.search_assure()

    def gone(self) -> bool:
        """True when a started process was deleted, so that Assure does not show it."""
        return any(
            process.started and dossier.deleted_at is not None
            for dossier in self.assure.dossiers.values()
            for process in dossier.processes
        )


def walked(random: Random) -> None:
    walk = Regained(random)
    try:
        for _ in range(random.randrange(LENGTH)):
            walk.moves()
        walk.loses()
        billed = len(walk.assure.starts_of(""))
        walk.settles()
        if walk.policy.paused:
            assert len(walk.assure.starts_of("")) == billed, "nothing billable before a person approves [I2]"
    except Exception as error:
        error.add_note("\n".join(line[:230] for line in walk.log[-60:]))
        raise


@pytest.mark.parametrize("part", range(2))
def test_no_generation_is_started_twice_after_a_lost_or_older_store(part: int) -> None:
    """[I1, I2, I3, I5]"""
    for random in seeds(f"history {part}", WALKS):
        walked(random)


def test_a_completely_restored_store_starts_nothing_twice_while_assure_shows_it() -> None:
    """[I2] Either Assure shows a sign, or going on as if nothing had happened does no harm."""
    for random in seeds("whole", WALKS):
        walk = PutBackWhole(random)
        for _ in range(random.randrange(LENGTH)):
            walk.moves()
        if walk.gone():
            continue
        try:
            walk.loses()
            walk.settles()
        except Exception as error:
            error.add_note("\n".join(line[:230] for line in walk.log[-60:]))
            raise
    for phase in (Phase.DOSSIER, Phase.PROCESS):
        assert noticed[phase, True, True], f"{phase} is never put back after a start"
    assert not noticed[Phase.DOSSIER, False, True], "only a sign keeps it from beginning again"


# -- one by one --------------------------------------------------------------------------------------------------------


def recovering() -> Policy:
    return replace(Policy(), recovering=True)


def regained(found: tuple[FoundDossier, ...], record: Record | None = None, **fields: object) -> Record:
    """A request that was admitted during recovery, after the search."""
    fresh = record or admit(unadmitted(upload(**fields)), NOW, recovering()).record  # type: ignore[arg-type]
    return step(fresh, HistoryLost(at=NOW + 1, found=found), recovering()).record


def one(*processes: ListedProcess, generation: int = 1, attempt: int = 1, dossier_id: str = "D9") -> FoundDossier:
    return FoundDossier(
        generation=generation, attempt=attempt, dossier_id=dossier_id, processes=processes, opened_at=NOW - 60
    )


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_a_started_process_is_observed(status: Status) -> None:
    """[I2]"""
    process = listed("P9", status)
    record = regained((one(process),))
    reading = DossierReading(dossier_id="D9", reference=record.reference, processes=(process,))
    after = step(record, DossierRead(at=NOW + 2, reading=reading), Policy()).record
    assert (after.phase, after.process_id, after.billed) == (Phase.RESULT, "P9", True)


def selfie(process_id: str, status: Status = Status.PROCESSING) -> ListedProcess:
    return listed(process_id, status, process_type="documentSelfie")


FRESH = [admit(unadmitted(desired), NOW, recovering()).record for desired in (upload(), capture())]
SEVERAL = one(listed("P1", Status.ACCEPTED), dossier_id="D8"), one(listed("P2", Status.FAILED), attempt=2)


@pytest.mark.parametrize(
    ("record", "found", "evidence"),
    [
        *((fresh, SEVERAL, "several-started") for fresh in FRESH),
        *((fresh, (one(selfie("P1")),), "other-process-type") for fresh in FRESH),
        *((old, (one(selfie("P1"), generation=2),), "other-process-type") for old in (*FRESH, at_done().record)),
    ],
)
def test_ambiguous_dossiers_are_held_and_never_started_again(
    record: Record, found: tuple[FoundDossier, ...], evidence: str
) -> None:
    """[I1] [I2] Held, but adopted: after any decision, nothing is started next to the existing process."""
    held = regained(found, record)
    assert held.hold is not None
    assert (held.phase, held.hold.evidence) == (Phase.PROCESS, evidence)
    ours = next(one for one in found if one.dossier_id == held.dossier_id)
    for policy in (recovering(), Policy()):
        answer = HoldResolved(at=NOW + 9, hold_id=held.hold.id, answer=HoldAnswer.RETRY)
        taken = step(held, answer, policy)
        assert isinstance(taken.effect, ReadDossier)
        reading = DossierReading(dossier_id="D9", reference=held.reference, processes=ours.processes)
        taken = step(taken.record, DossierRead(at=NOW + 10, reading=reading), policy)
        assert (taken.record.phase, taken.record.billed) == (Phase.RESULT, True)


@pytest.mark.parametrize("generation", [1, 2])
def test_the_attempt_with_a_started_process_is_adopted(generation: int) -> None:
    """[I2] A started generation has no other attempt, so the empty dossier is left by an unanswered create."""
    begun = one(listed("P1", Status.ACCEPTED), generation=generation)
    record = regained((begun, one(generation=generation, attempt=2, dossier_id="D8")))
    assert (record.dossier_id, record.generation, record.attempt, record.hold) == ("D9", generation, 1, None)


def test_a_start_in_an_earlier_attempt_prevents_a_later_start() -> None:
    """[I2]"""
    later = replace(at_images().record, intent=None, attempt=2)
    taken = step(later, HistoryLost(at=NOW + 60, found=(one(listed("P9", Status.PROCESSING)),)), recovering())
    assert taken.record.hold is not None
    assert (taken.record.hold.evidence, taken.effect) == ("several-started", None)


def test_an_old_hold_does_not_restart_a_generation_of_another_type() -> None:
    """[I2] The copy asks whether the changed file counts; it was answered since, and what was begun runs."""
    story = at_done()
    story.sees(DocumentChanged, desired=upload("two", process_type=ProcessType.DOCUMENT_SELFIE))
    assert story.record.hold is not None
    old = HoldResolved(at=NOW + 99, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY, desired=upload("two"))
    shown = one(selfie("P9"), generation=2)
    taken = step(story.record, HistoryLost(at=NOW + 98, found=(shown,)), recovering())
    assert (taken.record.generation, taken.record.dossier_id) == (2, "D9")
    assert step(taken.record, old, Policy()).record is taken.record


def busy(story: Story) -> Record:
    """Assure answers busy, so the effect certainly did not happen."""
    assert story.record.intent is not None
    story.sees(EffectDelayed, kind=story.record.intent.kind)
    return story.record


def another_attempt() -> Record:
    """The dossier of the first attempt was not found. That of the second was not requested yet."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(POLICY.list_lag).sees(DossierSearched, dossier_id=None, complete=False)
    assert (story.record.attempt, story.record.intent) == (2, None)
    return story.record


@pytest.mark.parametrize("record", [busy(at_create()), busy(at_create(capture())), another_attempt()])
def test_an_empty_dossier_before_its_create_proves_a_stale_store(record: Record) -> None:
    """[I2] [I3] Otherwise the agent would create another dossier, and for a capture another link."""
    shown = one(attempt=record.attempt)
    assert proves_store_is_stale(record, shown)
    taken = step(record, HistoryLost(at=NOW + 9, found=(shown,)), recovering())
    assert (taken.record.dossier_id, taken.effect) == ("D9", None)
    assert taken.record.hold is not None
    assert taken.record.hold.evidence == "empty-dossier"


def test_an_empty_dossier_of_an_unanswered_create_proves_nothing() -> None:
    """[I3] The search adopts it. A dossier with a process proves a rollback nevertheless."""
    story = at_create()
    for record in (story.record, step(story.record, Resumed(at=NOW + 1), Policy(), request_effect=False).record):
        assert not proves_store_is_stale(record, one())
        assert proves_store_is_stale(record, one(listed("P9")))
    story.unanswered(EffectKind.CREATE_DOSSIER)
    for _ in range(POLICY.unexpected_answers + 1):
        story.sees(EffectRefused, kind=EffectKind.FIND_DOSSIER)
        story.now += 60.0
    assert story.record.hold is not None
    story.sees(HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.ABANDON)
    assert story.orphans == [story.record.reference], "given up while in doubt, so it is a possible orphan"
    assert not proves_store_is_stale(story.record, one())


def test_an_older_record_reads_again_before_the_start() -> None:
    """[I2] It had been read as pending, before the copy was made."""
    story = at_start()
    crashed = step(story.record, Resumed(at=story.now + 1), Policy(), request_effect=False).record
    taken = step(crashed, HistoryLost(at=story.now + 2, found=()), Policy())
    assert not isinstance(taken.effect, StartVerification)
    assert (taken.record.pending, taken.record.create_unknown) == (False, True)


def test_an_older_capture_record_starts_no_second_flow() -> None:
    """[I2]"""
    story = at_process(capture())
    assert isinstance(story.effect, StartCapture)
    before = replace(story.record, intent=None)  # the copy is from before the intent
    taken = step(before, HistoryLost(at=story.now + 2, found=(one(dossier_id="D1"),)), Policy())
    assert taken.effect is None
    assert taken.record.hold is not None


def test_a_deletion_continues() -> None:
    record = replace(at_deletion().record, intent=None)
    assert step(record, HistoryLost(at=NOW + 1e6, found=()), Policy()).record.phase is Phase.DELETION


def test_a_started_process_is_not_pending() -> None:
    assert started_process((listed("P1"),)) is None
    assert listed("P1").process_type == ProcessType.DOCUMENT
