"""Every call fails once in every way, and every request still settles correctly [I1] [I2] [I3] [I5]."""

import pytest

from agent.core.record import Phase
from tests.support.environment import World
from tests.support.faults import rule

UPLOAD = (
    "createDossier",
    "createProcess",
    "setImages",
    "getImages",
    "getProcess",
    "startVerification",
    "deleteDossier",
    "getDossier",
)
KINDS = ("reset-before", "reset-after", "500", "truncated", "foreign", "html", "429", "revoke-token")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_request_settles_with_one_kind_of_failure_in_every_call(world: World, kind: str) -> None:
    world.sandbox.faults.add([rule(operation, kind) for operation in (*UPLOAD, "createArtifact")])
    world.upload("a", read_back=True)
    world.capture("b")
    await world.settle()
    assert [record.outcome for record in world.records().values()] == ["accepted", "accepted"]
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("seed", range(4))
async def test_every_request_settles_with_all_kinds_of_failures(world: World, seed: int) -> None:
    kinds = ("reset-before", "reset-after", "500", "503", "truncated", "html", "429", "revoke-token")
    world.sandbox.faults.seed = seed
    world.sandbox.faults.__post_init__()
    world.sandbox.faults.add([rule("*", kind, rate=0.04) for kind in kinds])
    world.sandbox.faults.add([rule("*", "lagging-reads", rate=0.2, seconds=3.0)])
    names = [f"a-{number}" for number in range(6)]
    for name in names:
        world.upload(name)
    world.capture("b")
    await world.settle()
    world.sandbox.faults.clear()
    await world.settle()  # its sweep finds dossiers that appeared late
    assert [world.record(name).phase for name in names] == [Phase.DONE] * 6
    assert [world.starts(name) for name in names] == [1] * 6
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("operation", UPLOAD)
async def test_a_request_settles_after_a_call_without_an_answer(world: World, operation: str) -> None:
    """The client gives up after REQUEST_TIMEOUT."""
    world.sandbox.faults.add([rule(operation, "hang", acts=operation not in ("getImages", "getProcess", "getDossier"))])
    world.upload("a", read_back=True)
    await world.settle(request_timeout=0.1)
    assert world.record("a").outcome == "accepted"
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()
