"""`get`, `validate`, `audit verify`: exit codes and the JSON of design §9."""

from pathlib import Path

import pytest

from agent.core.record import HoldReason
from agent.core.timestamps import format_optional_timestamp
from agent.store.sqlite.connection import sqlite3
from tests.cli.command_runner import Here
from tests.support.clock import START
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD, PASSPORT, capture, upload, write

__all__ = ["begin", "world"]

FIELDS = [
    "name",
    "uid",
    "generation",
    "mode",
    "phase",
    "state",
    "outcome",
    "reason",
    "holdId",
    "holdEvidence",
    "externalReference",
    "dossierId",
    "processId",
    "due",
    "deadline",
    "admittedAt",
    "settledAt",
    "commit",
]


@pytest.fixture
def state(world: World, here: Here) -> Here:
    """A command that reads the store of the world."""
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    return here


async def test_get_without_a_store_lists_no_requests(here: Here) -> None:
    said = here("get", "-o", "json")
    assert (said.code, said.json) == (0, {"items": [], "refused": []})
    said = here("get").out
    assert "No requests yet. Try: " in said
    assert "SPECS_DIR" in said and "SOURCE_URL" in said  # whichever the agent reads


async def test_a_finished_request_as_json(world: World, here: Here, folder: Path) -> None:
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    world.upload("customer-1")
    await world.settle()
    record = world.record("customer-1")
    (item,) = here("get", "-o", "json").json["items"]
    assert list(item) == FIELDS
    assert item == {
        "name": "customer-1",
        "uid": record.uid,
        "generation": 1,
        "mode": "upload",
        "phase": "done",
        "state": "done",
        "outcome": "accepted",
        "reason": None,
        "holdId": None,
        "holdEvidence": None,
        "externalReference": f"aa-tests-{record.uid}-1-1",
        "dossierId": record.dossier_id,
        "processId": record.process_id,
        "due": None,
        "deadline": format_optional_timestamp(record.deadline_at),
        "admittedAt": "2027-01-15T08:00:00.000Z",
        "settledAt": format_optional_timestamp(record.done_at),
        "commit": None,
    }


async def test_held_waiting_suspended_and_refused_as_json(world: World, state: Here) -> None:
    world.upload("held", document_id=IDENTITY_CARD)
    world.upload("suspended", suspend=True)
    world.upload("resting", retention="1d")
    write(world.specs / "refused.yaml", upload("refused", {"front": "no/such.jpg"}))
    await world.settle()
    found = state("get", "-o", "json").json
    items = {item["name"]: item for item in found["items"]}
    assert list(items) == ["held", "resting", "suspended"]
    assert {name: item["state"] for name, item in items.items()} == {
        "held": "held",
        "resting": "waiting",
        "suspended": "suspended",
    }
    assert items["held"]["reason"] == HoldReason.BACK_IMAGE_REQUIRED
    assert items["held"]["holdId"].startswith("h-")
    assert items["held"]["settledAt"] == "2027-01-15T08:00:00.000Z"
    assert items["suspended"]["externalReference"] is None
    assert items["resting"]["outcome"] == "accepted"
    assert items["resting"]["due"] == format_optional_timestamp(world.record("resting").delete_at)
    (refused,) = found["refused"]
    assert list(refused) == ["file", "line", "column", "message", "hint"]
    assert (refused["file"], refused["line"] > 1, refused["column"]) == ("refused.yaml", True, 14)


async def test_one_request_by_its_name_and_an_unknown_name(
    world: World, state: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.request_table.time", lambda: START + 3600.0)
    world.upload("a", suspend=True)
    world.upload("b", suspend=True)
    await world.settle()
    assert [item["name"] for item in state("get", "b", "-o", "json").json["items"]] == ["b"]
    state("get", "c").is_one_clear_error("c", "get")
    table = state("get").out.splitlines()
    assert table[0].split() == ["NAME", "MODE", "PHASE", "STATE", "OUTCOME", "REASON", "AGE"]
    assert table[1].split() == ["a", "upload", "dossier", "suspended", "-", "-", "60m"]


async def test_the_link_is_printed_alone_and_never_in_lists(world: World, state: Here) -> None:
    """[I6]"""
    world.capture("a", capture={"uiProfile": "sandbox-outcome-abandoned"})
    async with world.running():
        link = world.link("a")
        assert link is not None
        assert state("get", "a", "--link").out == f"{link}\n"
        assert state("get", "a", "--link", "-o", "json").json == {"link": link}
        assert state("get", "a", "--link", "-o", "jsonpath={.link}").out == f"{link}\n"
        for said in (state("get"), state("get", "a"), state("get", "-o", "json"), state("get", "a", "-o", "json")):
            assert link not in said.out + said.err
    state("get", "nobody", "--link").is_one_clear_error("nobody")
    for wrong in (("get", "--link"), ("get", "a", "b", "--link"), ("get", "a", "--link", "-w")):
        assert state(*wrong).code == 2


async def test_an_unchanged_audit_log_is_verified(world: World, state: Here) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    said = state("audit", "verify", "-o", "json")
    assert said.code == 0
    events = len(world.history("a"))
    assert said.json.items() >= {"ok": True, "requests": 1, "events": events, "findings": [], "notices": []}.items()
    assert said.json["checkpoints"]["covered"] == events
    assert state("audit", "verify").out.endswith("of 1 request: ok\n")


async def test_the_audit_finds_a_changed_event(world: World, state: Here) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    connection = sqlite3.connect(world.state)
    connection.execute("DROP TRIGGER events_are_never_changed")
    connection.execute("UPDATE events SET changes = replace(changes, 'accepted', 'rejected')")
    connection.commit()
    connection.close()
    said = state("audit", "verify", "-o", "json")
    assert said.code == 1
    assert said.json["ok"] is False
    (finding,) = said.json["findings"]
    assert list(finding) == ["event", "uid", "seq", "message"]
    assert (finding["uid"], finding["seq"]) == (world.record("a").uid, world.history("a").index("ProcessRead", 6) + 1)


async def test_an_audit_without_a_store_is_an_error(here: Here) -> None:
    here("audit", "verify").is_one_clear_error("state/agent.db", "STATE_URL")


def test_validate_prints_position_message_and_remedy(here: Here) -> None:
    write(here.folder / "specs/good.yaml", upload("good", {"front": "front.jpg"}))
    write(here.folder / "specs/also-good.yaml", capture("also-good"))
    assert (here("validate", "specs").code, here("validate", "specs").out) == (0, "2 files, 2 requests: ok\n")
    text = upload("bad", {"front": "front.jpg"}).replace(f"documentId: {PASSPORT}", "documentId: 0")
    write(here.folder / "specs/bad.yaml", text)
    line = text.splitlines().index("    documentId: 0") + 1
    said = here("validate", "specs")
    assert said.code == 5
    assert said.out.startswith(f"specs/bad.yaml:{line}:")
    assert ". Try: " in said.out
    (fault,) = here("validate", "specs/bad.yaml", "-o", "json").json
    assert list(fault) == ["file", "line", "column", "message", "hint"]
    assert (fault["file"], fault["line"]) == ("specs/bad.yaml", line)


def test_validate_checks_images_unless_no_images_is_given(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("a", {"front": "no/such.jpg"}))
    assert here("validate", "specs").code == 5
    assert here("validate", "specs", "--no-images").code == 0
    assert here("validate").code == 2


def test_validate_needs_neither_credentials_nor_a_store(here: Here) -> None:
    here.env.clear()
    write(here.folder / "specs/a.yaml", capture("a"))
    assert here("validate", "specs").code == 0
    assert not (here.folder / "state").exists()
