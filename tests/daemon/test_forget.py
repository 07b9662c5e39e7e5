"""A person is forgotten, and the history stays true."""

import pytest

from agent.core.record import Outcome, Phase
from agent.store import audit
from agent.store.connection import open_reader
from tests.support.commands import BOTH, OTHER, ask, obeyed_still, refused, scanned, told
from tests.support.environment import World

RERUN = {"assure-agent/rerun": "again"}


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
        for _ in range(3):
            await world.clock.advance(600)
            await agent._upkeep.tidy()
        untidy = [log for log in world.logs if "write-ahead log" in log["event"]]
        assert [log["log_level"] for log in untidy] == ["warning"]  # said once, not every minute
        reader.close()
        await agent._upkeep.tidy()
        assert not forgotten_bytes(world)


@BOTH
async def test_a_forgotten_name_whose_file_is_back_is_a_name_again(world: World, through: str) -> None:
    """[I1] [I3] [I5] It is shown, its removal is noticed after a restart, and it can be forgotten again."""
    world.upload("b")
    await forgotten(world)
    path = world.upload("customer-4711", "sandbox-delay=60m", labels={"team": "zebra77"}, annotations=RERUN)
    async with world.running():
        await world.clock.advance(10)
        record = world.record("customer-4711")
        assert (record.generation, record.phase, record.desired.file) == (2, Phase.RESULT, path.name)
        assert world.rows("SELECT name FROM requests WHERE uid = ?", record.uid) == [("customer-4711",)]
        assert world.rows("SELECT uid FROM labels") == [(record.uid,)]
    path.unlink()
    async with world.running() as agent:
        await scanned(world, agent)
    record = world.record("customer-4711")
    assert (record.present, record.outcome) == (False, Outcome.WITHDRAWN)
    await world.settle()
    assert (await told(world, through, "forget", name="customer-4711", command_id="forget-2"))["ok"]
    assert "customer-4711" not in world.records()
    assert not forgotten_bytes(world)
    assert not audit.verify(world.state).findings
    world.check_nothing_left()


@pytest.mark.parametrize("document_id", [137, OTHER])
async def test_a_forgotten_document_that_is_back_starts_nothing_and_is_known_by_its_name(
    world: World, document_id: int
) -> None:
    """[I2] As it was, or another one: then a person is asked."""
    await forgotten(world)
    world.upload("customer-4711", document_id=document_id)
    await world.settle()
    record = world.record("customer-4711")
    assert (record.present, record.generation, record.outcome) == (True, 1, Outcome.ACCEPTED)
    assert record.state == ("held" if document_id == OTHER else "done")
    assert world.starts("customer-4711") == 1
    world.check()


async def test_a_rerun_token_that_was_obeyed_is_not_obeyed_again_for_being_forgotten(world: World) -> None:
    """[I2] One token, one verification; its words are gone all the same."""
    for token in ("as anna asked", "once more"):
        path = world.upload("customer-4711", annotations={"assure-agent/rerun": token})
        await world.settle()
    path.unlink()
    await world.settle()
    assert (await obeyed_still(world, "forget", name="customer-4711"))["ok"]
    assert not [one for one in world.state.parent.iterdir() if one.is_file() and b"as anna asked" in one.read_bytes()]
    world.upload("customer-4711", annotations={"assure-agent/rerun": "as anna asked"})
    await world.settle()
    assert (world.record("customer-4711").generation, world.starts("customer-4711")) == (2, 2)
    world.upload("customer-4711", annotations={"assure-agent/rerun": "a third time"})
    await world.settle()
    assert (world.record("customer-4711").generation, world.starts("customer-4711")) == (3, 3)
    world.check()


async def test_a_rerun_of_a_forgotten_name_finds_its_file_before_any_scan_did(world: World) -> None:
    await forgotten(world)
    world.upload("customer-4711")
    answer = await obeyed_still(world, "rerun", name="customer-4711", command_id="rerun-11")
    assert answer["ok"], answer
    assert answer["message"].startswith("customer-4711: ")
    assert (await obeyed_still(world, "rerun", name="customer-4711", command_id="rerun-11")) == answer
    await world.settle()
    record = world.record("customer-4711")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("customer-4711") == 2
    world.check()


async def forgotten(world: World) -> None:
    """customer-4711 was verified, its file removed, and its name forgotten."""
    path = world.upload("customer-4711")
    await world.settle()
    path.unlink()
    await world.settle()
    assert (await obeyed_still(world, "forget", name="customer-4711"))["ok"]
    assert "customer-4711" not in world.records()


def forgotten_bytes(world: World) -> list[str]:
    """The files beside the state file that hold something of customer-4711."""
    files = [path for path in world.state.parent.iterdir() if path.is_file()]
    words = (b"customer-4711", b"zebra77")
    return [path.name for path in files if any(word in path.read_bytes() for word in words)]
