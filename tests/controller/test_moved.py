"""A record that another writer changes meanwhile: the step is not written, and the record is read again."""

from collections.abc import Sequence

import pytest

from agent.core.effect import CreateDossier, Effect
from agent.core.errors import Moved
from agent.core.machine import step
from agent.core.observations import Answered, Observation, PersonalDataDisclosed, Resumed
from agent.core.policy import Policy
from agent.core.record import Outcome, Record
from agent.core.step import Step
from agent.ports import Receipt
from tests.support.environment import World

from .controller_harness import Drive, Perform, capture_record, driving, uid
from .test_reconciler import end, run

pytestmark = pytest.mark.both_engines


async def changed(drive: Drive, name: str, observation: Observation) -> None:
    """Another writer commits a step of this record."""
    await drive.store.commit([step(drive.record(name), observation, Policy(), request_effect=False)])


async def test_the_answer_of_a_record_that_moved_is_dropped_and_the_record_is_read_again(world: World) -> None:
    """[I2] [I3] As after a takeover: the dossier exists once, although its answer was dropped."""
    drives: list[Drive] = []
    taken: list[Effect] = []

    async def around(effect: Effect, perform: Perform) -> Answered:
        answer = await perform(effect)
        if isinstance(effect, CreateDossier) and not taken:
            taken.append(effect)
            await changed(drives[0], "a", Resumed(at=world.clock.now(), jitter=0.5))
        return answer

    async with driving(world, around) as drive:
        drives.append(drive)
        await drive.reconciler.admit([capture_record(name) for name in ("a", "b")])
        task = await run(drive, world)
        await world.clock.advance(600)
        assert {drive.record(name).outcome for name in ("a", "b")} == {Outcome.ACCEPTED}
        assert (drive.moved, drive.bugs) == ([uid("a")], [])
        await end(drive, world, task)
    assert len(world.ledger.dossiers) == 2
    world.check_nothing_left()


async def test_an_observation_that_was_received_before_the_record_moved_is_not_lost(world: World) -> None:
    drives: list[Drive] = []
    taken: list[Effect] = []

    async def around(effect: Effect, perform: Perform) -> Answered:
        if isinstance(effect, CreateDossier) and not taken:
            taken.append(effect)
            await drives[0].reconciler.deliver({uid("a"): PersonalDataDisclosed(at=world.clock.now())})
        return await perform(effect)

    async with driving(world, around) as drive:
        drives.append(drive)
        plain, refused = drive.store.commit, list[Step]()

        async def commit(steps: Sequence[Step], receipt: Receipt | None = None) -> None:
            first = steps[0]
            if any(event.type == "PersonalDataDisclosed" for event in first.events) and not refused:
                refused.append(first)
                await plain([step(first.before, PersonalDataDisclosed(at=1.0), Policy(), request_effect=False)])
            await plain(steps, receipt)

        drive.store.commit = commit  # type: ignore[method-assign]
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        await world.clock.advance(600)
        assert drive.moved == [uid("a")]
        assert (drive.record("a").shown_at or 0.0) > 1.0
        assert drive.record("a").outcome is Outcome.ACCEPTED
        await end(drive, world, task)


@pytest.mark.parametrize(("times", "declined"), [(1, set()), (2, set()), (3, {uid("a")})])
async def test_a_record_that_moves_again_and_again_declines_an_observation(
    world: World, times: int, declined: set[str]
) -> None:
    """The observations of other records are delivered in any case."""
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record(name) for name in ("a", "b")])
        plain, left = drive.store.get_many, [*range(times)]

        async def get_many(uids: Sequence[str]) -> dict[str, Record]:
            found = await plain(uids)
            if left:
                left.pop()
                await changed(drive, "a", PersonalDataDisclosed(at=1.0 + len(left)))
            return found

        drive.store.get_many = get_many  # type: ignore[method-assign]
        shown = PersonalDataDisclosed(at=world.clock.now())
        assert set(await drive.reconciler.deliver({uid(name): shown for name in ("a", "b")})) == declined
        assert drive.moved == [uid("a")] * times
        assert drive.record("b").shown_at == shown.at
        assert (drive.record("a").shown_at == shown.at) is not bool(declined)


async def test_a_request_that_was_admitted_although_the_answer_was_lost_is_admitted_once(world: World) -> None:
    """[I4] Another replica has continued it since: the repetition finds another row than it has written."""
    async with driving(world) as drive:
        plain, tries = drive.store.commit, list[int]()

        async def commit(steps: Sequence[Step], receipt: Receipt | None = None) -> None:
            tries.append(len(steps))
            if len(tries) > 1:
                await plain(steps, receipt)
                return
            await plain(steps[:1], receipt)
            shown = PersonalDataDisclosed(at=1.0)
            await plain([step(drive.record("a"), shown, Policy(), request_effect=False)])
            raise Moved(uid("a"))

        drive.store.commit = commit  # type: ignore[method-assign]
        await drive.reconciler.admit([capture_record(name) for name in ("a", "b")])
        assert tries == [2, 1]
        assert drive.moved == [uid("a")]
        assert drive.record("a").shown_at == 1.0
        assert drive.record("b").admitted_at


async def test_an_admission_that_moves_without_a_stored_request_is_an_error(world: World) -> None:
    async with driving(world) as drive:

        async def commit(steps: Sequence[Step], receipt: Receipt | None = None) -> None:
            raise Moved(steps[0].record.uid)

        drive.store.commit = commit  # type: ignore[method-assign]
        with pytest.raises(Moved):
            await drive.reconciler.admit([capture_record("a")])
