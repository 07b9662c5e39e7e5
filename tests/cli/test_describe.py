"""`describe`: the local view, and with `--remote` the dossier at Assure, without personal values."""

import asyncio
import contextlib

import pytest

from agent.assure.process_details import process_details
from agent.assure.response_parsers import parse
from agent.core.classify import HttpReply
from agent.sandbox.outcome import BIRTH_DATE, DOCUMENT_NUMBER, FIRST_NAME, LAST_NAME, PERSONAL_NUMBER
from agent.store.sqlite.lock import FileLock
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.audits import verified
from verification.builders.request_files import IDENTITY_CARD, upload, write

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
    item = said.json["items"][0]["remote"]
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
    personal = said.json["items"][0]["remote"]["processes"][0]["personal"]
    assert personal["finalResult.firstName"] == [FIRST_NAME]
    assert "audit log" in said.err
    assert world.history("a")[-2:] == ["PersonalDataDisclosed", "CommandApplied"]
    assert world.rows("SELECT verb, uid FROM commands") == [("show-personal", before.uid)]
    assert FIRST_NAME.encode() not in world.state_bytes()
    assert not verified(world.state).findings
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


async def test_the_local_view_has_every_part_and_calls_nobody(world: World, state: Here) -> None:
    """[I6] Labels and paths are masked."""
    world.upload("a", document_id=IDENTITY_CARD, labels={"person": "jane"})
    await world.settle()
    record, calls = world.record("a"), world.ledger.calls.copy()
    said = await asyncio.to_thread(state, "describe", "a", CLIENT_SECRET="")
    assert said.code == 0, said
    lines = said.out.splitlines()
    for line in (
        "Name:       a",
        f"Uid:        {record.uid}",
        "State:      held",
        f"Dossier:    {record.dossier_id}",
        "  metadata.labels.person: ***",
        f"  spec.upload.documentId: {IDENTITY_CARD}",
        f"  front: *** (sha256 {record.desired.images[0].sha256})",
    ):
        assert line in lines
    titles = [line for line in lines if line.endswith(":") and not line.startswith((" ", "R", "or"))]
    expected = ["Document (a.yaml:1):", "Images:", "Conditions:", "State:", "Calls to Assure:", "Next step:", "Events:"]
    assert titles == expected
    assert record.hold is not None
    assert f"Hold {record.hold.id} (back-image-required)" in said.out
    assert any(line.endswith("  The agent admitted the request file.") for line in lines)
    assert "jane" not in said.out
    (item,) = (await asyncio.to_thread(state, "describe", "a", "-o", "json")).json["items"]
    assert (item["state"], item["hold"]["reason"], item["remote"]) == ("held", "back-image-required", None)
    assert [one["type"] for one in item["conditions"] if one["status"] == "True"] == ["Stalled"]
    assert [one["type"] for one in item["events"]] == world.history("a")
    assert world.ledger.calls == calls


async def test_local_personal_values_are_shown_after_the_disclosure_is_recorded(world: World, state: Here) -> None:
    """[I6]"""
    world.upload("a", labels={"person": "jane"})
    await world.settle()
    lock = FileLock(world.state.with_name("agent.db.lock"))
    try:
        said = await asyncio.to_thread(state, "describe", "a", "--show-personal")
    finally:
        lock.release()
    said.is_one_clear_error("Another agent")
    assert said.out == ""
    said = await asyncio.to_thread(state, "describe", "a", "--show-personal")
    assert "metadata.labels.person: jane" in said.out
    assert world.history("a").count("PersonalDataDisclosed") == 1


async def test_the_refusal_of_a_file_is_shown(world: World, state: Here) -> None:
    write(world.specs / "a.yaml", upload("a", {"front": "none.jpg"}))
    await world.settle()
    said = await asyncio.to_thread(state, "describe", "a")
    assert said.code == 0
    assert said.out.startswith("The agent refused its file at the last scan: a.yaml:")
