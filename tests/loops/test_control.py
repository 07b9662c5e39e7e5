"""What people tell the agent, through the socket of a running one and through the store of a still one (design §9)."""

import asyncio
import contextlib
import socket
import stat
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest

from agent import still
from agent.control import reachable, socket_of
from agent.core.record import HoldReason, Outcome, Phase, Record
from agent.runtime import Agent
from agent.source.folder import Folder
from agent.store import audit
from agent.store.connection import open_reader
from tests.support.clock import until
from tests.support.faults import rule
from tests.support.files import jpeg, write
from tests.support.fixtures import Begin
from tests.support.world import World

Answer = dict[str, Any]
BOTH = pytest.mark.parametrize("through", ["socket", "store"])
UNKNOWN = 4  # a document id that Assure refuses: held
OTHER = 9004  # another passport, in the sandbox's table


async def send(world: World, line: bytes, state: Path | None = None) -> bytes:
    """One line to the running agent, and the line that comes back; b"" when it hangs up."""
    with reachable(socket_of(state or world.state)) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    try:
        writer.write(line + b"\n")
        return await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(world: World, verb: str, command_id: str = "command-1", **arguments: Any) -> Answer:
    """What the running agent says to a command."""
    answer = await send(world, orjson.dumps({"id": command_id, "verb": verb, **arguments}))
    assert answer, "it hung up"
    found: Answer = orjson.loads(answer)
    return found


async def obeyed_still(world: World, verb: str, command_id: str = "command-1", **arguments: Any) -> Answer:
    """What comes of a command while no agent runs."""
    request = {"id": command_id, "verb": verb, **arguments}
    with (
        mock.patch.object(still, "SystemClock", lambda: world.clock),
        mock.patch.object(still, "Folder", partial(Folder, settle=0)),
    ):
        return await asyncio.to_thread(still.obey, world.settings(), request)


async def told(world: World, through: str, verb: str, times: int = 1, **arguments: Any) -> Answer:
    """Give the same command so many times, and let the agent do what follows; the answer is always the same one."""
    answers = []
    if through == "socket":
        async with world.running():
            for _ in range(times):
                answers.append(await ask(world, verb, **arguments))
                await world.clock.advance(60)
    else:
        for _ in range(times):
            answers.append(await obeyed_still(world, verb, **arguments))
            await world.settle()
    assert answers == [answers[0]] * times
    return answers[0]


def refused(answer: Answer, *words: str) -> None:
    assert answer["ok"] is False
    assert answer["hint"]
    for word in words:
        assert word in answer["message"]


def commands(world: World) -> int:
    return int(world.rows("SELECT count(*) FROM commands")[0][0])


# -- resolve -------------------------------------------------------------------------------------------------------


@BOTH
async def test_retry_asks_the_refused_call_again_once(world: World, through: str) -> None:
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    first = world.record("a").hold
    assert first is not None
    answer = await told(world, through, "resolve", times=2, name="a", answer="retry")
    assert answer["ok"], answer
    assert first.id in answer["message"]
    assert world.ledger.calls["createProcess"] == 2
    second = world.record("a").hold
    assert second is not None
    assert second.id != first.id  # another question, for which the same command is no answer
    assert commands(world) == 1
    world.check()


@BOTH
async def test_abandon_ends_it_and_leaves_nothing_at_assure(world: World, through: str) -> None:
    """[I3]"""
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    answer = await told(world, through, "resolve", times=2, name="a", answer="abandon")
    assert answer["ok"], answer
    assert (world.record("a").outcome, world.record("a").phase) == (Outcome.ABANDONED, Phase.DONE)
    world.check()
    world.check_nothing_left()


@BOTH
async def test_an_adopted_dossier_is_the_one_that_is_verified_and_deleted(world: World, through: str) -> None:
    """[I2] [I3]"""
    create, refuse = world.sandbox.world.create_dossier, [True]

    def refusing(body: dict[str, Any]) -> Any:
        from agent.sandbox.model import bad_request

        if refuse:
            raise bad_request("not today")
        return create(body)

    world.sandbox.world.create_dossier = refusing  # type: ignore[method-assign]
    world.upload("a")
    await world.settle()
    assert world.record("a").state == "held"
    dossier = create({"externalReference": "made by hand"})["dossierId"]
    answer = await told(world, through, "resolve", times=2, name="a", answer="adopt", dossierId=dossier)
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.outcome, record.dossier_id) == (Outcome.ACCEPTED, dossier)
    assert [process.starts for process in world.ledger.dossiers[dossier].processes] == [1]
    world.check()
    world.check_nothing_left()


@BOTH
async def test_retry_of_a_document_that_changed_after_its_start_verifies_it(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    assert world.record("a").state == "held"
    answer = await told(world, through, "resolve", times=2, name="a", answer="retry")
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.generation, record.outcome, record.hold) == (2, Outcome.ACCEPTED, None)
    assert record.desired.document_id == OTHER
    assert world.starts("a") == 2
    world.check()


@BOTH
async def test_abandon_of_a_document_that_changed_after_its_start_leaves_it(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    answer = await told(world, through, "resolve", times=2, name="a", answer="abandon")
    assert answer["ok"], answer
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.hold) == (1, Outcome.ACCEPTED, None)
    assert world.starts("a") == 1


@BOTH
async def test_abandon_of_a_change_while_it_runs_ends_it_and_leaves_the_file_to_a_rerun(
    world: World, through: str
) -> None:
    """[I2] [I3] The outcome is `abandoned`, the dossier is deleted; the changed file waits for a rerun."""
    world.upload("a", marker="sandbox-delay=60m")
    async with world.running():
        assert world.record("a").phase is Phase.RESULT
        world.upload("a", document_id=OTHER)
    async with world.running():
        assert world.record("a").state == "held"
        if through == "socket":
            assert (await ask(world, "resolve", name="a", answer="abandon"))["ok"]
    if through == "store":
        assert (await obeyed_still(world, "resolve", name="a", answer="abandon"))["ok"]
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.phase, record.hold) == (1, Outcome.ABANDONED, Phase.DONE, None)
    world.check_nothing_left()
    await told(world, through, "rerun", name="a", command_id="command-2")
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.desired.document_id) == (2, Outcome.ACCEPTED, OTHER)
    world.check()
    world.check_nothing_left()


async def test_a_retry_after_the_image_is_back_goes_on(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    async with world.running():
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.IMAGES_CHANGED
        write(world.images / "a/front.jpg", jpeg())
        assert (await ask(world, "resolve", name="a", answer="retry"))["ok"]
        await world.clock.rest()
        await world.clock.advance(30)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()


async def test_adopt_for_a_hold_that_adopts_nothing_is_refused_at_once(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    await world.settle()
    answer = await obeyed_in_time(world, "resolve", name="a", answer="adopt", dossierId="d-1")
    refused(answer)
    assert "busy" not in answer["message"]


async def obeyed_in_time(world: World, verb: str, **arguments: Any) -> Answer:
    """Time passes by itself meanwhile: who waits in vain for something to become durable gives up."""
    async with world.running():
        world.clock.release()
        return await ask(world, verb, **arguments)


# -- rerun ---------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_rerun_verifies_anew_once(world: World, through: str) -> None:
    """[I2] Billed twice, because it was asked for in words; not three times."""
    world.upload("a")
    await world.settle()
    answer = await told(world, through, "rerun", times=3, name="a")
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    assert commands(world) == 1
    await world.settle()  # and the file that says nothing of it asks for nothing
    assert world.starts("a") == 2
    assert (await told(world, through, "rerun", name="a", command_id="command-2"))["ok"]
    assert world.starts("a") == 3
    world.check()
    world.check_nothing_left()


@BOTH
async def test_a_rerun_takes_the_document_as_it_is_now(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    assert (await told(world, through, "rerun", name="a"))["ok"]
    record = world.record("a")
    assert (record.generation, record.desired.document_id, record.hold) == (2, OTHER, None)
    assert world.starts("a") == 2


@BOTH
async def test_a_rerun_of_what_is_not_in_the_source_is_refused(world: World, through: str) -> None:
    path = world.upload("a")
    world.upload("b")
    await world.settle()
    path.unlink()
    refused(await told(world, through, "rerun", name="a"), "a")
    assert world.starts("a") == 1
    assert commands(world) == 0


async def test_a_rerun_of_a_document_that_would_be_refused_says_why(world: World) -> None:
    world.upload("a")
    await world.settle()
    (world.images / "a/front.jpg").unlink()
    refused(await told(world, "socket", "rerun", name="a"))
    assert world.starts("a") == 1


async def test_a_rerun_reaches_a_request_that_is_being_driven(world: World) -> None:
    """[I3] It is answered once it is durable, after the call that is under way."""
    world.sandbox.faults.add([rule("createProcess", "latency", seconds=10.0)])
    world.upload("a")
    async with world.running():
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await asyncio.sleep(0.1)
        assert not asked.done()
        await world.clock.advance(60)
        assert (await asyncio.wait_for(asked, 5))["ok"]
        await world.clock.advance(60)
        assert (world.record("a").generation, world.record("a").outcome) == (2, Outcome.ACCEPTED)
    world.check()
    world.check_nothing_left()


# -- approve -------------------------------------------------------------------------------------------------------


def remove(world: World, *names: str) -> None:
    for name in names:
        (world.specs / f"{name}.yaml").unlink()


async def test_an_approval_lets_what_waits_be_withdrawn_and_nothing_later(world: World) -> None:
    names = [f"a-{number:02}" for number in range(12)]
    for name in names:
        world.upload(name, suspend=True)
    async with world.running() as agent:
        remove(world, *names[:4])
        await scanned(world, agent)
        assert {record.outcome for record in world.records().values()} == {None}
        assert (await ask(world, "approve"))["ok"]
        await scanned(world, agent, times=2)
        assert [world.record(name).outcome for name in names] == [Outcome.WITHDRAWN] * 4 + [None] * 8
        remove(world, *names[4:8])
        await scanned(world, agent)
        assert (await ask(world, "approve"))["ok"]  # sent again: it was obeyed before
        await scanned(world, agent)
        assert [world.record(name).outcome for name in names[4:]] == [None] * 8
        assert (await ask(world, "approve", command_id="command-2"))["ok"]
        await scanned(world, agent)
        assert [world.record(name).outcome for name in names[4:]] == [Outcome.WITHDRAWN] * 4 + [None] * 4


@BOTH
async def test_an_approval_outlives_a_restart(world: World, through: str) -> None:
    """An approval that is given while no agent runs is one of those, too."""
    names = [f"a-{number:02}" for number in range(6)]
    for name in names:
        world.upload(name, suspend=True)
    await world.settle()
    remove(world, *names[:4])
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {None}
    await world.clock.advance(10)
    assert (await told(world, through, "approve"))["ok"]
    await world.settle()
    assert [world.record(name).outcome for name in names] == [Outcome.WITHDRAWN] * 4 + [None] * 2


# -- pause and resume ----------------------------------------------------------------------------------------------


@BOTH
async def test_while_paused_nothing_new_is_begun_until_it_is_resumed(world: World, through: str) -> None:
    assert (await told(world, through, "pause", times=2))["ok"]
    world.upload("a")
    finished = await world.settle()  # `run --once` waits for nobody's word
    assert not finished.still_moving
    assert world.ledger.calls["createDossier"] == 0
    assert (await told(world, through, "resume", times=2, command_id="command-2"))["ok"]
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert commands(world) == 2


async def test_while_paused_what_runs_is_observed_and_deleted(world: World) -> None:
    world.upload("a", "sandbox-delay=30s")
    world.capture("b")
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        world.upload("c")
        await agent.scan()
        await world.clock.advance(100)
        outcomes = [world.record(name).outcome for name in ("a", "b", "c")]
        assert outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, None]
        assert world.sandbox.world.dossiers == {}
        assert (await ask(world, "resume", command_id="command-2"))["ok"]
        await world.clock.rest()
        await world.clock.advance(30)
        assert world.record("c").outcome is Outcome.ACCEPTED
    world.check()


async def test_a_pause_that_is_sent_again_after_the_resume_pauses_nothing(world: World) -> None:
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        assert (await ask(world, "resume", command_id="command-2"))["ok"]
        assert (await ask(world, "pause"))["ok"]
        world.upload("a")
        await agent.scan()
        await world.clock.advance(30)
        assert world.record("a").outcome is Outcome.ACCEPTED


async def test_a_pause_holds_for_what_was_claimed_before_it(world: World) -> None:
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=10.0)])
    for name in ("a", "b", "c"):
        world.upload(name)
    async with world.running(concurrency=1):
        assert world.ledger.calls["createDossier"] == 1
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(100)
        assert world.ledger.calls["createDossier"] == 1


async def test_the_privacy_clock_runs_while_paused(world: World) -> None:
    """[I3] A held request has a dossier at Assure, and its deadline."""
    world.upload("a", document_id=UNKNOWN, deadline="1h")
    async with world.running():
        assert len(world.sandbox.world.dossiers) == 1
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(3_700)
        assert world.sandbox.world.dossiers == {}
        assert world.record("a").outcome is Outcome.EXPIRED


async def test_a_removed_file_is_withdrawn_and_its_dossier_deleted_while_paused(world: World) -> None:
    """[I3]"""
    path = world.upload("a", document_id=UNKNOWN)
    world.upload("b", suspend=True)
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        path.unlink()
        await agent.scan()
        await agent.scan()
        await world.clock.advance(10)
        assert world.sandbox.world.dossiers == {}


# -- forget --------------------------------------------------------------------------------------------------------


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


# -- what is no command --------------------------------------------------------------------------------------------

WRONG: list[tuple[Answer, str]] = [
    ({"verb": "resolve", "name": "nobody", "answer": "retry"}, "nobody"),
    ({"verb": "resolve", "name": "fine", "answer": "retry"}, "fine"),
    ({"verb": "resolve", "answer": "retry"}, ""),
    ({"verb": "resolve", "name": 7, "answer": "retry"}, ""),
    ({"verb": "resolve", "name": "held", "answer": "perhaps"}, ""),
    ({"verb": "resolve", "name": "held"}, ""),
    ({"verb": "resolve", "name": "held", "answer": "adopt"}, "held"),
    ({"verb": "resolve", "name": "held", "answer": "adopt", "dossierId": "d-1"}, "held"),  # it has one
    ({"verb": "rerun", "name": "nobody"}, "nobody"),
    ({"verb": "forget", "name": "nobody"}, "nobody"),
    ({"verb": "forget", "name": "fine"}, "fine"),
    ({"verb": "delete", "name": "fine"}, ""),
    ({"verb": None}, ""),
    ({"verb": ["pause"]}, ""),
    ({"verb": "pause", "id": "short"}, ""),
    ({"verb": "pause", "id": "long" * 17}, ""),
    ({"verb": "pause", "id": 12345678}, ""),
    ({"verb": "pause", "id": None}, ""),
    ({}, ""),
]


@BOTH
@pytest.mark.parametrize(("wrong", "word"), WRONG, ids=[repr(wrong)[:60] for wrong, _ in WRONG])
async def test_a_wrong_command_is_answered_with_a_hint_and_changes_nothing(
    world: World, through: str, wrong: Answer, word: str
) -> None:
    world.upload("fine", suspend=True)
    world.upload("held", document_id=UNKNOWN)
    await world.settle()
    before = world.records()
    request = {"id": "command-1", **wrong}
    if through == "socket":
        async with world.running():
            line = await send(world, orjson.dumps(request))
            after = world.records()  # while time is held: the agent's end lets it pass
        assert line, "it hung up"
        answer = orjson.loads(line)
    else:
        answer = await asyncio.to_thread(still.obey, world.settings(), request)
        after = world.records()
    refused(answer, word)
    assert after == before
    assert commands(world) == 0


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[1]", b'"pause"', b"\xff\xfe", b"{" * 100_000])
async def test_nonsense_on_the_socket_harms_nothing(world: World, line: bytes) -> None:
    world.upload("a", "sandbox-delay=30s")
    async with world.running():
        answer = await send(world, line)
        assert not answer or orjson.loads(answer)["ok"] is False
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(60)
        assert world.record("a").outcome is Outcome.ACCEPTED


async def test_who_connects_and_says_nothing_keeps_nobody_from_ending_or_asking(world: World) -> None:
    async with world.running():
        with reachable(socket_of(world.state)) as name:
            _, writer = await asyncio.open_unix_connection(name)
        assert (await ask(world, "pause"))["ok"]
    writer.close()
    await writer.wait_closed()


async def test_the_same_command_twice_at_once_is_obeyed_once_and_answered_twice(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running():
        world.clock.release()
        answers = await asyncio.gather(*(ask(world, "rerun", name="a") for _ in range(3)))
        await world.clock.advance(60)
    assert answers == [answers[0]] * 3
    assert answers[0]["ok"], answers
    assert world.starts("a") == 2
    assert commands(world) == 1


async def test_a_command_is_obeyed_once_over_a_restart(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running():
        assert (await ask(world, "rerun", name="a"))["ok"]
        await world.clock.advance(60)
    assert (await obeyed_still(world, "rerun", name="a"))["ok"]
    async with world.running():
        assert (await ask(world, "rerun", name="a"))["ok"]
        await world.clock.advance(60)
    assert world.starts("a") == 2


# -- the socket ----------------------------------------------------------------------------------------------------


async def test_only_its_owner_may_speak_on_the_socket_and_it_is_gone_afterwards(world: World) -> None:
    async with world.running():
        mode = socket_of(world.state).lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not socket_of(world.state).exists()


async def test_a_state_folder_with_a_long_path_is_reachable(world: World) -> None:
    deep = world.folder.joinpath(*["a-rather-long-name-of-a-folder"] * 6, "agent.db")
    assert len(str(socket_of(deep))) > 150
    async with world.running(state_url=f"sqlite:///{deep}"):
        answer = orjson.loads(await send(world, b'{"id": "command-1", "verb": "pause"}', deep))
        assert answer["ok"]


async def test_a_socket_that_a_crash_left_is_replaced(world: World) -> None:
    world.state.parent.mkdir()
    with reachable(socket_of(world.state)) as name, socket.socket(socket.AF_UNIX) as dead:
        dead.bind(name)
    async with world.running():
        assert (await ask(world, "pause"))["ok"]


# -- the answer in the file ----------------------------------------------------------------------------------------


def annotated(world: World, answer: str, **more: Any) -> None:
    world.upload("a", annotations={"assure-agent/resolve": answer}, **more)


def held(world: World) -> str:
    hold = world.record("a").hold
    assert hold is not None
    return hold.id


async def scanned(world: World, agent: Agent, times: int = 4) -> None:
    for _ in range(times):
        await agent.scan()
        await world.clock.advance(10)


async def test_the_answer_in_the_file_is_obeyed_once_for_a_blocking_hold(world: World) -> None:
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        first = held(world)
        await world.clock.advance(10)
        annotated(world, f"retry@{first}", document_id=UNKNOWN)
        await scanned(world, agent)
        assert world.ledger.calls["createProcess"] == 2
        assert held(world) != first
    await world.settle()  # a restart finds the same file
    assert world.ledger.calls["createProcess"] == 2
    assert world.record("a").generation == 1
    assert world.rows("SELECT count(*) FROM events WHERE type = 'HoldResolved'") == [(1,)]
    world.check()


async def test_an_abandon_in_the_file_ends_a_held_request(world: World) -> None:
    """[I3]"""
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        annotated(world, f"abandon@{held(world)}", document_id=UNKNOWN)
        await scanned(world, agent)
        assert world.record("a").outcome is Outcome.ABANDONED
    world.check()
    world.check_nothing_left()


async def test_the_answer_in_the_file_verifies_a_document_that_changed_after_its_start_once(world: World) -> None:
    """[I2]"""
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"retry@{held(world)}", document_id=OTHER)
        await scanned(world, agent)
        await world.clock.advance(30)
        record = world.record("a")
        assert (record.generation, record.outcome, record.hold) == (2, Outcome.ACCEPTED, None)
    await world.settle()
    assert world.starts("a") == 2
    world.check()
    world.check_nothing_left()


async def test_the_answer_in_the_file_can_leave_a_changed_document_unheeded(world: World) -> None:
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"abandon@{held(world)}", document_id=OTHER)
        await scanned(world, agent)
        record = world.record("a")
        assert (record.generation, record.outcome, record.hold) == (1, Outcome.ACCEPTED, None)
    await world.settle()
    assert world.record("a").hold is None
    assert world.starts("a") == 1


@pytest.mark.parametrize("document_id", [UNKNOWN, OTHER])
async def test_an_answer_to_another_hold_is_ignored_and_reported(world: World, document_id: int) -> None:
    world.upload("a", document_id=UNKNOWN if document_id == UNKNOWN else 137)
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=document_id)
        await agent.scan()
        before = held(world)
        annotated(world, "retry@h-000000", document_id=document_id)
        synced = await agent._admission.scan()
        assert {stray.uid for stray in synced.strays} == {world.record("a").uid}
        await scanned(world, agent)
        assert held(world) == before
        assert world.rows("SELECT count(*) FROM events WHERE type = 'HoldResolved'") == [(0,)]
        strays = [entry for entry in world.logs if "annotation" in entry["event"]]
        assert [entry["uid"] for entry in strays] == [world.record("a").uid]  # told once, not at each scan
        assert [entry["answers"] for entry in strays] == ["h-000000"]
    world.check()


async def test_an_answer_to_another_hold_stays_reported_as_long_as_it_stands_there(world: World) -> None:
    """Each scan says what stands in the source now, as it does of what is refused."""
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        annotated(world, "retry@h-000000", document_id=UNKNOWN)
        for _ in range(4):
            synced = await agent._admission.scan()
            assert {stray.uid for stray in synced.strays} == {world.record("a").uid}


async def test_an_answer_whose_image_is_not_there_is_refused_and_obeyed_once_it_is(world: World) -> None:
    """[I1]"""
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"retry@{held(world)}", document_id=OTHER)
        (world.images / "a/front.jpg").unlink()
        synced = await agent._admission.scan()
        assert [fault.name for fault in synced.refusals] == ["a"]
        await scanned(world, agent)
        write(world.images / "a/front.jpg", jpeg())
        await scanned(world, agent)
        assert world.record("a").generation == 2


async def test_the_answer_in_a_file_whose_agent_was_down_is_obeyed_at_its_start(begin: Begin) -> None:
    world = await begin()
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    annotated(world, f"abandon@{held(world)}", document_id=UNKNOWN)
    await world.settle()
    record: Record = world.record("a")
    assert record.outcome is Outcome.ABANDONED
    world.check_nothing_left()


async def test_an_agent_that_ends_answers_who_asks_just_then(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running() as agent:
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await until(lambda: asked.done() or agent._ending.asked.is_set() or world.rows("SELECT 1 FROM commands"))
        agent.stop()
        assert (await asyncio.wait_for(asked, 5))["ok"]
    await world.settle()
    assert world.starts("a") == 2
