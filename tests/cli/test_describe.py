"""`describe --remote`: the dossier at Assure, without personal values."""

import asyncio
import contextlib

import pytest

from agent.assure.process_details import process_details
from agent.assure.response_parsers import parse
from agent.core.classify import HttpReply
from agent.sandbox.outcome import BIRTH_DATE, DOCUMENT_NUMBER, FIRST_NAME, LAST_NAME, PERSONAL_NUMBER
from agent.store.audit.verify import verify
from agent.store.lock import FileLock
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]


@pytest.fixture
def state(world: World, here: Here) -> Here:
    return on_world(here, world)


async def test_statuses_reasons_and_checks_are_shown_and_values_are_masked(world: World, state: Here) -> None:
    """[I6]"""
    world.upload("a", marker="sandbox-outcome=rejected", retention="1d")
    world.upload("b", retention="1d")
    await world.settle()
    before = world.state.read_bytes()
    said = await asyncio.to_thread(state, "describe", "a", "--remote", "-o", "json")
    assert said.code == 0, said
    (item,) = said.json["items"]
    record = world.record("a")
    assert record.result is not None
    assert (item["found"], item["dossierId"]) == (True, record.dossier_id)
    assert item["externalReference"] == record.reference
    (process,) = item["processes"]
    assert (process["processId"], process["status"]) == (record.process_id, "rejected")
    assert process["reasons"] == [
        [part for part in (reason.type, reason.category, reason.sub_category) if part]
        for reason in record.result.reasons
    ]
    table = (await asyncio.to_thread(state, "describe", "b", "--remote")).out
    assert "accepted (signicatpictureid, document, created " in table
    assert "    pictures: front\n" in table
    assert "depictions" not in table
    assert ".name: ***" not in table
    masked = [line for line in table.splitlines() if line.strip().startswith("finalResult.")]
    assert masked
    assert all(line.endswith(": ***") for line in masked)
    for value in (FIRST_NAME, LAST_NAME, BIRTH_DATE, DOCUMENT_NUMBER, PERSONAL_NUMBER):
        assert value not in table
    assert world.state.read_bytes() == before


@pytest.mark.parametrize("running", [True, False], ids=["while an agent runs", "while none runs"])
async def test_personal_values_are_shown_after_the_disclosure_is_recorded(
    world: World, state: Here, running: bool
) -> None:
    """[I5] [I6] [I7] The audit log has the entry, the store has no value, and outcome and phase are unchanged."""
    world.upload("a", retention="1d")
    await world.settle()
    before = world.record("a")
    async with world.running() if running else contextlib.nullcontext():
        said = await asyncio.to_thread(state, "describe", "a", "--remote", "--show-personal", "-o", "json")
    assert said.code == 0, said
    personal = said.json["items"][0]["processes"][0]["personal"]
    assert personal["finalResult.firstName"] == [FIRST_NAME]
    assert "audit log" in said.err
    assert world.history("a")[-2:] == ["PersonalDataDisclosed", "CommandApplied"]
    assert world.rows("SELECT verb, uid FROM commands") == [("show-personal", before.uid)]
    assert FIRST_NAME.encode() not in world.state_bytes()
    assert not verify(world.state).findings
    after = world.record("a")
    assert after.shown_at is not None
    assert (after.phase, after.outcome, after.delete_at) == (before.phase, before.outcome, before.delete_at)
    table = (await asyncio.to_thread(state, "describe", "a", "--remote", "--show-personal")).out
    assert f"finalResult.firstName: {FIRST_NAME}\n" in table
    assert world.history("a").count("PersonalDataDisclosed") == 2


async def test_no_personal_value_is_shown_if_the_disclosure_cannot_be_recorded(world: World, state: Here) -> None:
    """[I6] Another process has the lock and serves no socket: the command fails without a call to Assure."""
    world.upload("a", retention="1d")
    await world.settle()
    lock = FileLock(world.state.with_name("agent.db.lock"))
    calls = world.ledger.calls.copy()
    try:
        said = await asyncio.to_thread(state, "describe", "a", "--remote", "--show-personal")
    finally:
        lock.release()
    said.is_one_clear_error("Another agent")
    assert (said.out, world.ledger.calls) == ("", calls)
    assert "PersonalDataDisclosed" not in world.history("a")


async def test_a_deleted_dossier_is_reported(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    said = await asyncio.to_thread(state, "describe", "a", "--remote")
    assert (said.code, said.out.endswith("(404). It was deleted.\n")) == (0, True)


async def test_a_request_without_a_dossier_or_of_another_account_is_an_error(world: World, state: Here) -> None:
    world.upload("a", suspend=True)
    await world.settle()

    async def ask(*arguments: str, **env: str) -> object:
        return await asyncio.to_thread(lambda: state("describe", *arguments, **env))

    (await ask("nobody", "--remote")).is_one_clear_error("nobody")  # type: ignore[attr-defined]
    (await ask("a", "--remote")).is_one_clear_error("a", "explain")  # type: ignore[attr-defined]
    (await ask("a", "--remote", CLIENT_ID="other")).is_one_clear_error("belongs to")  # type: ignore[attr-defined]
    (await ask("a", "--remote", CLIENT_SECRET="")).is_one_clear_error("CLIENT_SECRET")  # type: ignore[attr-defined]
    assert (await ask("a")).code == 2  # type: ignore[attr-defined]


def test_the_parser_returns_only_the_names_of_fields() -> None:
    """[I6]"""
    body = (
        b'{"processId":"p1","status":"rejected","statusReasons":[{"type":"rejection","category":"x","message":"Jane"}],'
        b'"finalResult":{"firstName":"Jane","Jane Doe":1,"addresses":[{"street":"Elm"},{"street":"Oak"}],"empty":null},'
        b'"providerSpecific":{"document":{"securityChecks":{"mrz":{"name":"MRZ","passed":true,"message":"Jane"}}}},'
        b'"depictions":["selfie","front","Jane"]}'
    )
    reply = HttpReply(status=200, body=body, document=parse(body), retry_after=None)
    found = process_details("p1")(reply)
    assert found.masked == (
        "finalResult.firstName",
        "finalResult.?",
        "finalResult.addresses[].street",
        "providerSpecific.document.securityChecks.mrz.message",
    )
    assert found.depictions == ("front", "selfie")
    assert "Jane" not in repr(found)
