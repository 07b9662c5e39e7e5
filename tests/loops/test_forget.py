"""A person is forgotten, and the history stays true."""

from agent.store import audit
from agent.store.connection import open_reader
from tests.support.world import World

from .commands import BOTH, ask, obeyed_still, refused, told


@BOTH
async def test_what_is_forgotten_leaves_no_name_and_its_history_stays_true(world: World, through: str) -> None:
    """[I5] [I6]"""
    path = world.upload("customer-4711", labels={"team": "onboarding"})
    world.upload("b", suspend=True)
    await world.settle()
    refused(await told(world, through, "forget", name="customer-4711", command_id="too-early"))
    path.unlink()
    await world.settle()
    uid = world.record("customer-4711").uid
    answer = await told(world, through, "forget", times=2, name="customer-4711")
    assert answer["ok"], answer
    for table in ("requests", "events", "commands", "links", "refusals", "meta"):
        rows = repr(world.rows(f"SELECT * FROM {table}"))
        assert "customer-4711" not in rows
        assert "onboarding" not in rows
        assert "front.jpg" not in rows or table == "requests"  # of b
    assert world.rows("SELECT count(*) FROM events WHERE uid = ?", uid)[0][0] > 5
    assert not audit.verify(world.state).findings
    assert world.record("b").state == "suspended"
    await world.settle()
    assert not audit.verify(world.state).findings


@BOTH
async def test_no_byte_of_what_is_forgotten_is_in_any_file(world: World, through: str) -> None:
    """[I6] At once, and while the agent goes on."""
    path = world.upload("customer-4711", labels={"team": "zebra77"})
    await world.settle()
    path.unlink()
    await world.settle()
    if through == "store":
        assert (await obeyed_still(world, "forget", name="customer-4711"))["ok"]
        assert not forgotten_bytes(world)
        return
    async with world.running() as agent:
        reader = open_reader(world.state)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM requests").fetchone()
        answer = await ask(world, "forget", name="customer-4711")
        assert "Somebody reads the state file just now" in answer["message"]
        assert forgotten_bytes(world)
        reader.close()
        await agent._upkeep.tidy()
        assert not forgotten_bytes(world)


def forgotten_bytes(world: World) -> list[str]:
    """The files beside the state file that hold something of customer-4711."""
    files = [path for path in world.state.parent.iterdir() if path.is_file()]
    words = (b"customer-4711", b"zebra77")
    return [path.name for path in files if any(word in path.read_bytes() for word in words)]
