"""`claims NAME`, `forget` with claims, and `validate` without a key."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from agent.cli import claims as command
from agent.sandbox import CANARIES
from agent.sandbox.outcome import FIRST_NAME
from agent.store.sqlite.lock import FileLock
from tests.cli.command_runner import CommandResult, Here
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.audits import verified

__all__ = ["begin", "world"]

KEY = "a claims key of the tests, long enough for it"
CLAIMS = {"result": {"keep": "claims", "claimsTtl": "1h"}}


@pytest.fixture
def state(world: World, here: Here) -> Here:
    here.env |= {"STATE_URL": f"sqlite:///{world.state}", "CLAIMS_KEY": KEY, "SPECS_DIR": str(world.specs)}
    world.switches["claims_key"] = KEY
    return here


async def ask(state: Here, *arguments: str, **env: str) -> CommandResult:
    return await asyncio.to_thread(lambda: state(*arguments, **env))


@pytest.mark.parametrize("running", [True, False], ids=["while an agent runs", "while none runs"])
async def test_claims_are_shown_after_the_disclosure_is_recorded(world: World, state: Here, running: bool) -> None:
    """[I5] [I6] [I7] The entry is durable first. Neither the store nor the answers of commands contain a value."""
    world.upload("a", processType="documentSelfie", **CLAIMS)
    await world.settle()
    async with world.running() if running else contextlib.nullcontext():
        said = await ask(state, "claims", "a", "-o", "json")
        assert world.history("a")[-2:] == ["ClaimsDisclosed", "CommandApplied"]
    assert said.code == 0, said
    (item,) = said.json["items"]
    assert (item["name"], item["generation"]) == ("a", 1)
    assert item["expiresAt"].startswith("2027-01-15T09:00")
    assert item["claims"]["finalResult"]["firstName"] == FIRST_NAME
    assert item["claims"]["providerSpecific"]["document"]["subject"]["firstName"] == FIRST_NAME
    assert "audit log" in said.err
    assert world.rows("SELECT verb, uid FROM commands") == [("show-claims", world.record("a").uid)]
    assert [canary for canary in CANARIES if canary.encode() in world.state_bytes()] == []
    assert not verified(world.state).findings
    table = (await ask(state, "claims", "a")).out
    assert f"  finalResult.firstName: {FIRST_NAME}\n" in table
    assert world.history("a").count("ClaimsDisclosed") == 2


async def test_no_claims_are_shown_if_the_disclosure_cannot_be_recorded(world: World, state: Here) -> None:
    """[I6] Another process has the lock and serves no socket."""
    world.upload("a", **CLAIMS)
    await world.settle()
    lock = FileLock(world.state.with_name("agent.db.lock"))
    try:
        said = await ask(state, "claims", "a")
    finally:
        lock.release()
    said.is_one_clear_error("Another agent")
    assert said.out == ""
    assert "ClaimsDisclosed" not in world.history("a")


async def test_claims_that_cannot_be_shown_are_an_error_without_a_record(
    world: World, state: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload("a", **CLAIMS)
    world.upload("b")
    world.upload("c", "sandbox-outcome=rejected", **CLAIMS)
    await world.settle()
    (await ask(state, "claims", "nobody")).is_one_clear_error("nobody", "get")
    (await ask(state, "claims", "b")).is_one_clear_error("keeps no claims of b", "keep: claims")
    (await ask(state, "claims", "c")).is_one_clear_error("keeps no claims of c")
    (await ask(state, "claims", "a", CLAIMS_KEY="")).is_one_clear_error("CLAIMS_KEY is not set")
    (await ask(state, "claims", "a", CLAIMS_KEY=KEY + "x")).is_one_clear_error("another CLAIMS_KEY")
    with monkeypatch.context() as later:
        later.setattr(command.time, "time", lambda: world.clock.now() + 3600)
        (await ask(state, "claims", "a")).is_one_clear_error("keeps no claims of a")
    shutil.rmtree(world.state.parent / "keys")
    (await ask(state, "claims", "a")).is_one_clear_error("The key of these claims is gone")
    assert "ClaimsDisclosed" not in world.history("a")


@pytest.mark.parametrize("running", [True, False], ids=["while an agent runs", "while none runs"])
async def test_forget_destroys_claims_and_leaves_the_chain_valid(world: World, state: Here, running: bool) -> None:
    """[I5] [I6] Before they expire, and also in old copies. The claims of other requests remain."""
    path = world.upload("a", **CLAIMS)
    world.upload("b", **CLAIMS)
    await world.settle()
    path.unlink()
    await world.settle()
    uid = world.record("a").uid
    old = world.folder / "old"
    shutil.copytree(world.state.parent, old, ignore=shutil.ignore_patterns("keys", "*.lock", "*.sock"))
    async with world.running() if running else contextlib.nullcontext():
        said = await ask(state, "forget", "--yes", "a")
        assert "paths and claims are erased" in said.out
        assert world.rows("SELECT uid FROM claims") == [(world.record("b").uid,)]
        history = [row[0] for row in world.rows("SELECT type FROM events WHERE uid = ? ORDER BY seq", uid)]
        assert history[-3:] == ["ClaimsErased", "NameErased", "CommandApplied"]
    assert (await ask(state, "claims", "b")).code == 0
    shutil.copytree(world.state.parent / "keys", old / "keys")
    copy = {"STATE_URL": f"sqlite:///{old}/agent.db"}
    (await ask(state, "claims", "a", **copy)).is_one_clear_error("The key of these claims is gone")
    assert not verified(world.state).findings


def test_validate_refuses_keep_claims_without_a_key(here: Here, folder: Path) -> None:
    path = here.folder / "a.yaml"
    path.write_text(
        "apiVersion: assure-agent/v1\nkind: VerificationRequest\nmetadata: {name: a}\nspec:\n"
        "  processType: document\n  capture: {redirectUrl: https://shop.example/}\n  result:\n    keep: claims\n"
    )
    said = here("validate", "a.yaml")
    assert said.code == 5
    position, _, message = said.out.partition(": ")
    assert position == "a.yaml:8:11"
    assert message.startswith("spec.result.keep: claims cannot be kept, because CLAIMS_KEY is not set. Try: ")
    assert here("validate", "a.yaml", CLAIMS_KEY=KEY).code == 0


def test_a_short_claims_key_is_refused_and_not_shown(here: Here) -> None:
    said = here("get", CLAIMS_KEY="too short")
    said.is_one_clear_error("CLAIMS_KEY", "32 characters")
    assert "too short" not in said.err
    shown = here("doctor", "--offline", "-o", "json", CLAIMS_KEY=KEY)
    assert KEY not in shown.out + shown.err
    (here.folder / "key").write_text(KEY + "\n")
    assert here("doctor", "--offline", "-o", "json", CLAIMS_KEY_FILE=str(here.folder / "key")).code == shown.code
