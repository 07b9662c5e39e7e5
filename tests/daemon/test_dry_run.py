"""`plan` agrees with `run`: a dry run and the real admission, with random folders and stores."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.admission import AdmissionRules
from agent.admission.prune_guard import PruneGuard
from agent.core.assure_types import PROVIDER, DossierReading, ListedProcess, ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.machine import step
from agent.core.observations import (
    CaptureStarted,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    EffectUnanswered,
    Observation,
    ProcessRead,
    Resumed,
    TargetMissing,
    TimerFired,
)
from agent.core.policy import Policy
from agent.core.record import Outcome, Phase, Record
from agent.daemon.dry_run import DryRun
from agent.source.folder import Folder
from agent.source.folder_source import FolderSource
from agent.source.images import ImageFolder
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.views.plan import Action, Change, Plan, after_restart
from tests.controller.controller_harness import ControllerHarness, desk_at
from tests.support.environment import World
from verification.builders.request_files import capture, write

NAMES = [f"r{n}" for n in range(8)]
POLICY = Policy()


@pytest.fixture
async def harness(folder: Path) -> AsyncIterator[ControllerHarness]:
    async with desk_at(folder) as harness:
        yield harness


async def dry_run(harness: ControllerHarness) -> tuple[Plan, DryRun]:
    """The plan, and the store in memory after it."""
    rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(harness.images, 10_000))
    with ReadOnlyStore(harness.store.path) as reading:
        reading.freeze()
        rehearsal = DryRun(
            FolderSource(Folder(harness.specs, settle=0)), rules, reading, harness.store.keys, harness.clock, POLICY
        )
        plan = await rehearsal.plan()
        for name in NAMES:  # read it all while the snapshot is open
            rehearsal.store.committed.setdefault(uid(harness, name), await rehearsal.store.get(uid(harness, name)))  # type: ignore
    return plan, rehearsal


def uid(harness: ControllerHarness, name: str) -> str:
    return harness.store.keys.uid("default", name)


async def planned(harness: ControllerHarness) -> dict[str, Change]:
    return {change.name: change for change in (await dry_run(harness))[0].changes}


@pytest.mark.parametrize("requests", [2, 40])
async def test_a_plan_reads_the_records_of_many_requests_together(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    """On a server, each query would cost a round trip."""
    for number in range(requests):
        write(harness.specs / f"r{number}.yaml", capture(f"r{number}"))
    await harness.scan()
    write(harness.specs / "r0.yaml", capture("r0", labels={"team": "new"}))
    (harness.specs / "r1.yaml").unlink()
    asked: list[str] = []
    query = ReadOnlyStore.query

    def counted(self: ReadOnlyStore, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        asked.append(sql)
        return query(self, sql, values)

    monkeypatch.setattr(ReadOnlyStore, "query", counted)
    rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(harness.images, 10_000))
    with ReadOnlyStore(harness.store.path) as reading:
        source = FolderSource(Folder(harness.specs, settle=0))
        plan = await DryRun(source, rules, reading, harness.store.keys, harness.clock, POLICY).plan()
    assert len(plan.changes) == requests
    assert sum("SELECT record FROM requests" in sql for sql in asked) == 7
    assert len(asked) == 15


# -- random stores and folders -------------------------------------------------------------------------------------


def answer(record: Record, chance: Random) -> Observation:
    """A possible next observation for this record, usually a success."""
    at = 1_800_000_000.0
    if record.intent is None:
        if record.doubt is EffectKind.CREATE_PROCESS or (record.phase is Phase.RESULT and record.process_id is None):
            process = ListedProcess(
                process_id="p1", provider=PROVIDER, process_type="document", status=Status.ACCEPTED, updated_at="1"
            )
            return DossierRead(at=at, reading=DossierReading(dossier_id="d1", reference=None, processes=(process,)))
        if record.phase is Phase.RESULT:
            status = chance.choice([Status.ACCEPTED, Status.REJECTED])
            return ProcessRead(at=at, reading=ProcessReading(process_id="p1", status=status))
        if record.phase is Phase.DELETION and record.deleted:
            return TargetMissing(at=at, kind=EffectKind.READ_DOSSIER)
        return TimerFired(at=at)
    kind = record.intent.kind
    if chance.random() < 0.2:
        return EffectUnanswered(at=at, kind=kind)
    if kind is EffectKind.CREATE_DOSSIER:
        return DossierCreated(at=at, dossier_id="d1")
    if kind is EffectKind.START_CAPTURE:
        return CaptureStarted(at=at, link="https://capture.example/x")
    return DossierDeleted(at=at)


async def drive(harness: ControllerHarness, name: str, chance: Random) -> None:
    """Drive a record through some of its steps."""
    for _ in range(chance.randrange(8)):
        record = harness.find(name)
        if record is None or (record.intent is None and record.phase is Phase.DONE):
            return
        observation = answer(record, chance)
        try:
            taken = step(record, observation, POLICY)
        except Exception:  # it does not ask for this now
            return
        if taken.changed:
            await harness.store.commit([taken])


CONTENTS: dict[int, dict[str, list[object]]] = {
    6: {"labels": [{"team": "a"}, {"team": "b"}]},
    7: {"annotations": [{"assure-agent/rerun": token} for token in ("one", "two", "three")]},
    8: {"capture": [{"language": "nl"}, {"language": "no"}]},
    9: {"retention": ["0s", "5m"]},
    10: {"suspend": [True]},
}


def rewrite(harness: ControllerHarness, name: str, chance: Random) -> None:
    """Change a file at random, or leave it."""
    path = harness.specs / f"{name}.yaml"
    kind = chance.randrange(12)
    if kind < 3:
        return
    if kind == 3:
        path.unlink(missing_ok=True)
    elif kind == 4:
        write(path, "apiVersion: [")
    elif kind == 5 and path.exists():
        path.rename(harness.specs / f"moved-{name}-{chance.randrange(10**6)}.yaml")
    else:
        for other in harness.specs.glob(f"moved-{name}-*"):
            other.unlink()
        write(path, capture(name, **{key: chance.choice(values) for key, values in CONTENTS.get(kind, {}).items()}))


@pytest.mark.parametrize("seed", range(30))
async def test_plan_agrees_with_the_admission(harness: ControllerHarness, seed: int) -> None:
    chance = Random(seed)
    for name in NAMES:
        if chance.random() < 0.7:
            harness.capture(name)
    await harness.scan(2)
    for _ in range(4):
        for name in NAMES:
            await drive(harness, name, chance)
            rewrite(harness, name, chance)
        before = {name: harness.find(name) for name in NAMES}
        plan, rehearsal = await dry_run(harness)
        harness.restart()
        for record in before.values():  # what a restart does before anything else reaches a record
            if record is not None and record.intent is not None:
                await harness.store.commit(
                    [step(record, Resumed(at=harness.clock.now()), POLICY, request_effect=False)]
                )
        synced = await harness.scan(2)
        rows = {change.name: change for change in plan.changes if change.name}
        assert plan.stopped == synced.waiting
        assert len(plan.of(Action.REFUSE)) == len({(fault.file, fault.name or fault.line) for fault in synced.refusals})
        for name in NAMES:
            after = harness.find(name)
            assert rehearsal.store.committed[uid(harness, name)] == after, name
            check(
                rows.get(name),
                after_restart(before[name], harness.clock.now(), POLICY) if before[name] else None,
                after,
            )


def check(row: Change | None, before: Record | None, after: Record | None) -> None:
    """The planned action is right, judged from the records without the rules of the plan."""
    action = row.action if row is not None else Action.NOTHING
    if before is None or after is None:
        assert (action is Action.CREATE) == (after is not None)
        return
    again = after.generation > before.generation or (after.next is not None and after.next != before.next)
    asked = after.hold is not None and after.hold != before.hold
    given_up = before.present and not after.present and before.outcome is None
    assert (action is Action.RERUN) == again
    assert (action is Action.HOLD) == asked
    assert (action is Action.WITHDRAW and row is not None and not row.stopped) == given_up
    if action is Action.NOTHING:
        assert (after.generation, after.phase, after.outcome) == (before.generation, before.phase, before.outcome)
        assert after.desired.essence == before.desired.essence


# -- one by one ----------------------------------------------------------------------------------------------------


async def test_a_new_request_is_created_and_counts_one_start(harness: ControllerHarness) -> None:
    harness.capture("a")
    harness.capture("b", suspend=True)
    plan = await planned(harness)
    assert (plan["a"].action, plan["a"].starts, plan["a"].file) == (Action.CREATE, 1, "a.yaml")
    assert (plan["b"].action, plan["b"].starts) == (Action.CREATE, 0)
    assert harness.find("a") is None  # nothing was written


async def test_too_many_withdrawals_are_shown_as_stopped(harness: ControllerHarness) -> None:
    for name in NAMES:
        harness.capture(name)
    await harness.scan()
    for name in NAMES[:5]:
        (harness.specs / f"{name}.yaml").unlink()
    plan, _ = await dry_run(harness)
    assert plan.stopped == 5
    assert {change.name for change in plan.of(Action.WITHDRAW)} == set(NAMES[:5])
    assert plan.starts == 8  # those that are gone go on until somebody approves


async def test_plan_reports_the_decision_of_the_prune_guard(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.capture("a")
    harness.capture("b")
    await harness.scan()
    (harness.specs / "a.yaml").unlink()
    assert not (await planned(harness))["a"].stopped

    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(PruneGuard, "allows", never)
    row = (await planned(harness))["a"]
    assert (row.action, row.stopped) == (Action.WITHDRAW, True)


async def test_a_request_whose_file_cannot_be_read_is_not_stopped(harness: ControllerHarness) -> None:
    path = harness.capture("a")
    await harness.scan()
    harness.restart()
    path.write_text("a: [")
    row = (await planned(harness))["a"]
    assert (row.action, row.stopped) == (Action.NOTHING, False)
    assert "cannot be read completely" in row.reason


async def test_a_refused_document_has_a_position_and_the_admitted_one_continues(harness: ControllerHarness) -> None:
    path = harness.capture("a")
    await harness.scan()
    path.write_text(path.read_text().replace("document", "dokument"))
    row = (await planned(harness))["a"]
    assert (row.action, row.file, row.line > 1, bool(row.hint)) == (Action.REFUSE, "a.yaml", True, True)
    assert "the admitted document continues" in row.reason
    assert row.starts == 1


async def test_the_planned_starts_are_the_starts_at_assure(world: World) -> None:
    """[I2]"""
    for name in ("a", "b"):
        world.upload(name)
    world.upload("c", suspend=True)
    world.capture("d")
    rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(world.images, 10_000))
    keys_of_nobody = _IdentityKey()
    rehearsal = DryRun(FolderSource(Folder(world.specs, settle=0)), rules, None, keys_of_nobody, world.clock, POLICY)
    plan = await rehearsal.plan()
    await world.settle()
    assert plan.starts == sum(world.starts(name) for name in "abcd") == 3
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED, None}


class _IdentityKey:
    def uid(self, source: str, name: str) -> str:
        return f"uid-of-{name}"

    def digest(self, content: bytes) -> str:
        return str(hash(content))
