"""`forget`: the name of a request is erased, and the audit log can still be verified."""

import pytest

from agent.core.record import Outcome, Phase
from agent.store.sqlite.connection import open_reader
from tests.support.commands import BOTH, OTHER, ask, execute_offline, refused, scanned, send_through
from tests.support.environment import World

RERUN = {"assure-agent/rerun": "again"}


@pytest.mark.both_engines
@BOTH
async def test_a_forgotten_request_leaves_no_name_and_a_valid_audit_log(world: World, through: str) -> None:
    """[I5] [I6]"""
    path = world.upload("customer-4711", labels={"team": "onboarding"})
    world.upload("b", suspend=True)
    await world.settle()
    refused(await send_through(world, through, "forget", name="customer-4711", command_id="too-early"))
    path.unlink()
    await world.settle()
    uid = world.record("customer-4711").uid
    answer = await send_through(world, through, "forget", times=2, name="customer-4711")
    assert answer["ok"], answer
    for table in ("requests", "events", "commands", "links", "refusals", "meta"):
        rows = repr(world.rows(f"SELECT * FROM {table}"))
        assert "customer-4711" not in rows
        assert "onboarding" not in rows
        assert "front.jpg" not in rows or table == "requests"  # of b
    assert world.rows("SELECT count(*) FROM events WHERE uid = ?", uid)[0][0] > 5
    assert world.findings() == []
    assert world.record("b").state == "suspended"
    await world.settle()
    assert world.findings() == []


@pytest.mark.state_file  # a server removes the bytes of old rows later
@BOTH
async def test_no_file_contains_a_byte_of_a_forgotten_request(world: World, through: str) -> None:
    """[I6] At once without an agent, and after the truncation with a running one."""
    path = world.upload("customer-4711", labels={"team": "zebra77"})
    await world.settle()
    path.unlink()
    await world.settle()
    if through == "store":
        assert (await execute_offline(world, "forget", name="customer-4711"))["ok"]
        assert not forgotten_bytes(world)
        return
    async with world.running() as agent:
        reader = open_reader(world.state)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM requests").fetchone()
        answer = await ask(world, "forget", name="customer-4711")
        assert "reads the state file, so its write-ahead log" in answer["message"]
        assert forgotten_bytes(world)
        for _ in range(3):
            await world.clock.advance(600)
            await agent._maintenance.tidy()
        untidy = [log for log in world.logs if "write-ahead log" in log.get("cause", "")]
        assert [log["log_level"] for log in untidy] == ["warning"]  # logged once, not every minute
        reader.close()
        await agent._maintenance.tidy()
        assert not forgotten_bytes(world)


@BOTH
async def test_a_forgotten_name_is_stored_again_when_its_file_is_back(world: World, through: str) -> None:
    """[I1] [I3] [I5] It is listed, a restart notices its removal, and it can be forgotten again."""
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
    assert (await send_through(world, through, "forget", name="customer-4711", command_id="forget-2"))["ok"]
    assert "customer-4711" not in world.records()
    assert not forgotten_bytes(world)
    assert world.findings() == []
    world.check_nothing_left()


@pytest.mark.parametrize("document_id", [137, OTHER], ids=["unchanged", "changed"])
async def test_the_file_of_a_forgotten_request_that_is_back_starts_nothing(world: World, document_id: int) -> None:
    """[I2] A changed file is held for the operator."""
    await forgotten(world)
    world.upload("customer-4711", document_id=document_id)
    await world.settle()
    record = world.record("customer-4711")
    assert (record.present, record.generation, record.outcome) == (True, 1, Outcome.ACCEPTED)
    assert record.state == ("held" if document_id == OTHER else "done")
    assert world.starts("customer-4711") == 1
    world.check()


async def test_an_applied_rerun_token_is_not_applied_again_after_forget(world: World) -> None:
    """[I2] One token causes one verification, although `forget` erases its text."""
    for token in ("as anna asked", "once more"):
        path = world.upload("customer-4711", annotations={"assure-agent/rerun": token})
        await world.settle()
    path.unlink()
    await world.settle()
    assert (await execute_offline(world, "forget", name="customer-4711"))["ok"]
    assert not [one for one in world.state.parent.iterdir() if one.is_file() and b"as anna asked" in one.read_bytes()]
    world.upload("customer-4711", annotations={"assure-agent/rerun": "as anna asked"})
    await world.settle()
    assert (world.record("customer-4711").generation, world.starts("customer-4711")) == (2, 2)
    world.upload("customer-4711", annotations={"assure-agent/rerun": "a third time"})
    await world.settle()
    assert (world.record("customer-4711").generation, world.starts("customer-4711")) == (3, 3)
    world.check()


async def test_a_rerun_of_a_forgotten_name_finds_its_file_before_the_next_scan(world: World) -> None:
    await forgotten(world)
    world.upload("customer-4711")
    answer = await execute_offline(world, "rerun", name="customer-4711", command_id="rerun-11")
    assert answer["ok"], answer
    assert answer["message"].startswith("customer-4711: ")
    assert (await execute_offline(world, "rerun", name="customer-4711", command_id="rerun-11")) == answer
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
    assert (await execute_offline(world, "forget", name="customer-4711"))["ok"]
    assert "customer-4711" not in world.records()


def forgotten_bytes(world: World) -> list[str]:
    """The files next to the state file that contain data of customer-4711."""
    files = [path for path in world.state.parent.iterdir() if path.is_file()]
    parts = (b"customer-4711", b"zebra77")
    return [path.name for path in files if any(word in path.read_bytes() for word in parts)]
