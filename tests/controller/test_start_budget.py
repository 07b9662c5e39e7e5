"""MAX_STARTS_PER_DAY: the starts in a UTC day, reserved before anything is created (design §10)."""

import asyncio
from collections import Counter

import pytest

from agent.controller.start_budget import StartBudget
from agent.core.record import Outcome, Phase, Record
from tests.support.clock import START, VirtualClock
from tests.support.environment import World
from tests.support.faults import rule

DAY = 86_400.0
MIDNIGHT = START - START % DAY + DAY
RARE = 1_800.0  # between two lists, since days pass
NAMES = ("g", "c", "a", "f", "b", "e", "d")  # in the order of their admission


async def arrive(world: World, scan: object, *names: str) -> None:
    """Admit requests one after the other."""
    for name in names:
        world.upload(name, deadline="30m")
        await scan()  # type: ignore[operator]
        await world.clock.advance(10)


def per_day(world: World) -> list[int]:
    """Dossiers by the day on which they were created."""
    days = Counter(entry.created_at // DAY for entry in world.ledger.dossiers.values())
    return [days[day] for day in sorted(days)]


def begun(world: World) -> set[str]:
    return {name for name, record in world.records().items() if record.opened_at is not None}


def queued(world: World) -> dict[str, Record]:
    return {name: record for name, record in world.records().items() if record.queued}


@pytest.mark.both_engines
async def test_a_day_has_its_starts_and_other_requests_wait_for_the_next(world: World) -> None:
    """[I1] Requests start in the order of their admission, as early as possible, and none expires meanwhile."""
    async with world.running(max_starts_per_day=3, poll_interval=RARE) as agent:
        await arrive(world, agent.scan, *NAMES)
        assert begun(world) == set(NAMES[:3])
        await world.clock.advance(MIDNIGHT - world.clock.now() - 5)
        assert begun(world) == set(NAMES[:3])
        assert {world.record(name).outcome for name in NAMES[:3]} == {Outcome.ACCEPTED}
        for name in NAMES[3:]:
            record = world.record(name)
            assert (record.phase, record.state, record.queued) == (Phase.DOSSIER, "waiting", True)
            assert (record.hold, record.outcome, record.opened_at) == (None, None, None)
            assert record.due_at == MIDNIGHT
        assert len(world.ledger.dossiers) == 3
        await world.clock.advance(10)
        assert begun(world) == set(NAMES[:6])
        await world.clock.advance(DAY)
        assert begun(world) == set(NAMES)
        await world.clock.advance(2 * RARE)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert per_day(world) == [3, 3, 1]
    assert [world.starts(name) for name in NAMES] == [1] * 7
    world.check()
    world.check_nothing_left()


async def test_a_queued_request_makes_no_call(world: World) -> None:
    for name in NAMES:
        world.upload(name)
    finished = await world.settle(max_starts_per_day=3)
    assert not finished.unfinished
    assert world.clock.now() < START + 600  # `run --once` does not wait for tomorrow
    assert len(queued(world)) == 4
    assert world.ledger.calls["createDossier"] == 3
    assert world.ledger.calls["startVerification"] == 3
    before = world.ledger.calls.copy()
    await world.settle(max_starts_per_day=3)  # a restart does not begin a new day
    assert set(world.ledger.calls - before) <= {"token", "getDossiers", "getAllProcess"}  # as at each start
    assert len(queued(world)) == 4
    world.check_nothing_left()


async def test_a_capture_flow_is_a_start_as_well(world: World) -> None:
    for name in NAMES[:4]:
        world.capture(name)
    await world.settle(max_starts_per_day=3)
    assert world.ledger.calls["createArtifact"] == 3
    assert len(queued(world)) == 1


async def test_a_higher_limit_releases_the_oldest_requests_at_the_next_start(world: World) -> None:
    async with world.running(max_starts_per_day=3, poll_interval=RARE) as agent:
        await arrive(world, agent.scan, *NAMES)
    await world.settle(max_starts_per_day=5)
    assert begun(world) == set(NAMES[:5])
    assert world.clock.now() < MIDNIGHT
    await world.settle(max_starts_per_day=9)
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert world.clock.now() < MIDNIGHT
    assert per_day(world) == [7]
    world.check()
    world.check_nothing_left()


async def test_a_queued_request_settles_after_the_limit_is_removed(world: World) -> None:
    """[I1] Also `run --once` waits for it: it goes on by itself."""
    for name in NAMES[:4]:
        world.upload(name)
    await world.settle(max_starts_per_day=3)
    finished = await world.settle(max_starts_per_day=0)
    assert queued(world) == {}
    assert not finished.unfinished
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    world.check()


async def test_a_lower_limit_counts_earlier_starts(world: World) -> None:
    for name in NAMES[:4]:
        world.upload(name)
    await world.settle(max_starts_per_day=4)
    for name in NAMES[4:]:
        world.upload(name)
    await world.settle(max_starts_per_day=2)
    assert len(queued(world)) == 3


async def test_earlier_requests_precede_after_a_higher_limit(world: World) -> None:
    for name in NAMES[:2]:
        world.upload(name)
    await world.settle(max_starts_per_day=1)
    (first,) = queued(world)
    await world.clock.advance(60)
    world.upload("0-late")
    await world.settle(max_starts_per_day=2)
    assert world.record(first).outcome is Outcome.ACCEPTED
    assert set(queued(world)) == {"0-late"}


async def test_a_queued_request_can_be_changed_and_withdrawn(world: World) -> None:
    for name in NAMES[:4]:
        world.upload(name)
    await world.settle(max_starts_per_day=1)
    gone, changed, _ = sorted(queued(world))
    (world.specs / f"{gone}.yaml").unlink()
    world.upload(changed, document_id=138)
    await world.settle(max_starts_per_day=1)
    assert (world.record(gone).outcome, world.record(gone).phase) == (Outcome.WITHDRAWN, Phase.DONE)
    assert world.record(changed).desired.document_id == 138
    assert {name for name in queued(world) if name != gone} == set(NAMES[:4]) - {gone} - begun(world)
    assert len(world.ledger.dossiers) == 1


async def test_a_withdrawn_request_no_longer_waits_for_the_budget(world: World) -> None:
    for name in NAMES[:2]:
        world.upload(name)
    await world.settle(max_starts_per_day=1)
    (gone,) = queued(world)
    (world.specs / f"{gone}.yaml").unlink()
    await world.settle(max_starts_per_day=1)
    assert world.record(gone).phase is Phase.DONE
    assert queued(world) == {}


async def test_another_attempt_takes_no_second_start(world: World) -> None:
    """A lost link costs its dossier, and the capture starts again. The end user never had the first link."""
    world.sandbox.faults.add([rule("createArtifact", "reset-after")])
    for name in NAMES[:2]:
        world.capture(name)
    await world.settle(max_starts_per_day=2)
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert queued(world) == {}


async def test_a_rerun_needs_a_start_of_its_own(world: World) -> None:
    world.upload("a")
    async with world.running(max_starts_per_day=1, poll_interval=RARE) as agent:
        await world.clock.advance(RARE)
        assert world.record("a").outcome is Outcome.ACCEPTED
        world.upload("a", annotations={"assure-agent/rerun": "again"})
        await agent.scan()
        await world.clock.advance(60)
        record = world.record("a")
        assert (record.generation, record.queued) == (2, True)
        assert world.starts("a") == 1
        await world.clock.advance(DAY)
        assert world.starts("a") == 2


@pytest.mark.parametrize("again", ["rerun", "another request"])
async def test_a_start_of_an_earlier_generation_counts_after_a_restart(world: World, again: str) -> None:
    """The limit of a day is never exceeded."""
    world.upload("a")
    await world.settle(max_starts_per_day=2)
    world.upload("a", annotations={"assure-agent/rerun": "again"})
    await world.settle(max_starts_per_day=2)
    assert world.starts("a") == 2
    if again == "rerun":
        world.upload("a", annotations={"assure-agent/rerun": "and again"})
    else:
        world.upload("b")
    await world.settle(max_starts_per_day=2)
    assert sum(process.starts for entry in world.ledger.dossiers.values() for process in entry.processes) == 2


async def test_starts_from_before_the_limit_was_set_count(world: World) -> None:
    """Six starts were billed without a limit. With a limit of nine, three are left today."""
    for number in range(6):
        world.upload(f"early-{number}")
    await world.settle()
    for number in range(6):
        world.upload(f"late-{number}")
    await world.settle(max_starts_per_day=9)
    assert world.ledger.calls["startVerification"] == 9
    assert len(queued(world)) == 3
    await world.settle(max_starts_per_day=9)
    assert world.ledger.calls["startVerification"] == 9
    world.clock.release()
    await world.clock.advance(DAY)
    await world.settle(max_starts_per_day=9)
    assert world.ledger.calls["startVerification"] == 12
    assert per_day(world) == [9, 3]


async def test_a_request_before_its_start_counts_when_a_limit_is_set(world: World) -> None:
    world.sandbox.faults.add([rule("setImages", "503", rate=1.0)])
    for number in range(3):
        world.upload(f"early-{number}")
    async with world.running():
        assert {record.phase for record in world.records().values()} == {Phase.IMAGES}
    world.sandbox.faults.clear()
    for number in range(3):
        world.upload(f"late-{number}")
    await world.settle(max_starts_per_day=4)
    assert world.ledger.calls["startVerification"] == 4
    assert len(queued(world)) == 2


class SlowFirstAnswer:
    """A shared store that answers the first question last."""

    shared = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def starts_since(self, at: float) -> int:
        return 0

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        for _ in range(3 if uid == "first" else 0):
            await asyncio.sleep(0)
        self.asked.append(uid)
        return len(self.asked) <= limit, len(self.asked)


async def test_a_shared_start_goes_to_the_request_that_asked_first() -> None:
    """[I1] The order of starts does not depend on the speed of the database's answers."""
    budget = StartBudget(1, SlowFirstAnswer(), VirtualClock())
    taken = await asyncio.gather(budget.take("first", 1), budget.take("second", 1))
    assert taken[0] is None
    assert taken[1] is not None
