"""Claims from the answer of Assure to the last copy of them [I6], through the agent and the sandbox."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.sandbox import CANARIES
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.sqlite.connection import sqlite3
from agent.store.stored_claims import COLUMNS, StoredClaims, stored_claims
from tests.support.environment import World
from verification.audits import verified

KEY = "a claims key of the tests, long enough for it"
CLAIMS = {"result": {"keep": "claims", "claimsTtl": "1h"}}


@pytest.fixture(autouse=True)
def with_key(world: World) -> None:
    world.switches["claims_key"] = KEY


def rows(database: Path) -> list[StoredClaims]:
    """The claims of any state file, also an old one."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [stored_claims(row) for row in connection.execute(f"SELECT {COLUMNS} FROM claims ORDER BY uid")]


def opened(database: Path, keys: Path, key: str = KEY) -> list[bytes]:
    """All claims of a file that can be read with these keys."""
    vault, found = ClaimsKeyring(keys, key), []
    for one in rows(database):
        with contextlib.suppress(AgentError):
            found.append(vault.open(one))
    return found


def ends(one: StoredClaims) -> tuple[bytes, bytes]:
    """Both ends of a ciphertext, each short enough for one page."""
    return one.encrypted.ciphertext[:64], one.encrypted.ciphertext[-32:]


@contextlib.contextmanager
def copied(world: World) -> Iterator[Path]:
    """A copy of the state folder as it is now; as a backup takes it, without keys."""
    copy = world.folder / "old"
    shutil.copytree(world.state.parent, copy, ignore=shutil.ignore_patterns("keys", "*.lock", "*.sock"))
    yield copy / world.state.name
    shutil.rmtree(copy)


def keys(world: World) -> list[Path]:
    return sorted((world.state.parent / "keys").glob("*"))


async def test_claims_are_kept_with_the_outcome_and_only_the_key_can_decrypt_them(world: World) -> None:
    world.upload("a", processType="documentSelfie", **CLAIMS)
    await world.settle()
    record = world.record("a")
    assert (record.outcome, record.phase) == ("accepted", Phase.DONE)
    assert record.outcome_at is not None
    assert record.claims_until == record.outcome_at + 3600
    (clear,) = opened(world.state, world.state.parent / "keys")
    assert all(canary.encode() in clear for canary in CANARIES)
    assert clear.startswith(b'{"finalResult":{')
    written = world.state_bytes() + b"".join(path.read_bytes() for path in keys(world))
    assert [canary for canary in CANARIES if canary.encode() in written or canary in repr(world.logs)] == []
    assert opened(world.state, world.state.parent / "keys", "another claims key of thirty-two characters") == []
    world.check()
    world.check_nothing_left()


async def test_claims_are_on_disk_before_the_dossier_is_deleted(world: World) -> None:
    """[I4] Outcome, claims and the intent to delete share one commit."""
    seen = []
    original = world.sandbox.world.delete_dossier

    def delete(dossier_id: str) -> None:
        seen.extend(world.rows("SELECT outcome, generation FROM requests JOIN claims USING (uid, generation)"))
        seen.extend(world.rows("SELECT effect FROM attempts WHERE answered_at IS NULL"))
        original(dossier_id)

    world.sandbox.world.delete_dossier = delete  # type: ignore[method-assign]
    world.upload("a", **CLAIMS)
    await world.settle()
    assert seen == [("accepted", 1), ("delete_dossier",)]


@pytest.mark.parametrize("outcome", ["rejected", "inconclusive", "failed"])
async def test_claims_of_any_other_outcome_are_not_kept(world: World, outcome: str) -> None:
    world.upload("a", f"sandbox-outcome={outcome}", **CLAIMS)
    await world.settle()
    assert (world.record("a").outcome, world.record("a").claims_until) == (outcome, None)
    assert rows(world.state) == []
    assert keys(world) == []


async def test_a_result_that_was_sighted_in_bulk_is_read_with_its_claims(world: World) -> None:
    world.capture("a", capture={"uiProfile": "sandbox-outcome-accepted"}, **CLAIMS)
    world.upload("b", "sandbox-delay=100s", **CLAIMS)
    async with world.running():
        await world.clock.advance(120)
        assert {name: record.outcome for name, record in world.records().items()} == {"a": "accepted", "b": "accepted"}
    assert len(opened(world.state, world.state.parent / "keys")) == 2


async def test_without_keep_claims_no_key_is_even_made(world: World) -> None:
    world.upload("a")
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert rows(world.state) == []
    assert not (world.state.parent / "keys").exists()


async def test_expired_claims_are_erased_and_unreadable_in_every_old_copy(world: World) -> None:
    """They are gone from file and write-ahead log, and an old copy of the database cannot be decrypted."""
    world.upload("a", **CLAIMS)
    world.upload("b", **CLAIMS | {"result": {"keep": "claims", "claimsTtl": "2h"}})
    async with world.running(poll_interval=30.0) as agent:
        await world.clock.advance(60)
        probes = [probe for one in rows(world.state) for probe in ends(one)]
        assert len(probes) == 4
        assert all(probe in world.state_bytes() for probe in probes)
        with copied(world) as old:
            assert len(opened(old, world.state.parent / "keys")) == 2  # so the attempt below is a fair one
            await world.clock.advance(3600)
            await agent._erasure.erase_due()
            uid = world.record("a").uid
            (gone,) = [ends(one) for one in rows(old) if one.uid == uid]
            assert [one.uid for one in rows(world.state)] == [world.record("b").uid]
            assert [probe for probe in gone if probe in world.state_bytes()] == []
            assert (
                opened(old, world.state.parent / "keys") == []
            )  # of its neighbour on that day neither: see privacy.md
            assert len(opened(world.state, world.state.parent / "keys")) == 1
            await world.clock.advance(3600)
            await agent._erasure.erase_due()
            assert rows(world.state) == []
            assert keys(world) == []
            assert opened(old, world.state.parent / "keys") == []
            assert [probe for probe in probes if probe in world.state_bytes()] == []
        assert world.record("a").claims_until is None
    assert world.history("a")[-1] == "ClaimsErased"
    assert not verified(world.state).findings


async def test_the_key_of_a_day_encrypts_the_claims_that_expire_on_it(world: World) -> None:
    for name, ttl in (("a", "1h"), ("b", "1h"), ("c", "30d")):
        world.upload(name, result={"keep": "claims", "claimsTtl": ttl})
    world.upload("d", result={"keep": "claims"})  # 30d as well
    await world.settle()
    days = [re.fullmatch(r"(\d{4}-\d\d-\d\d)-[0-9a-f]{8}\.key", path.name) for path in keys(world)]
    assert [day and day[1] for day in days] == ["2027-01-15", "2027-02-14"]
    assert [oct(path.stat().st_mode & 0o777) for path in [*keys(world), keys(world)[0].parent]] == [
        "0o600",
        "0o600",
        "0o700",
    ]
    assert sorted(one.encrypted.key_id[:10] for one in rows(world.state)) == ["2027-01-15"] * 2 + ["2027-02-14"] * 2


async def test_an_agent_that_was_down_erases_expired_claims_when_it_starts(world: World) -> None:
    world.upload("a", **CLAIMS)
    await world.settle()
    world.clock.skip(3601)
    await world.settle()
    assert (rows(world.state), keys(world)) == ([], [])
    assert world.history("a")[-1] == "ClaimsErased"


@pytest.mark.parametrize("at", ["_close", "erase", "tidy"])
async def test_an_erasure_that_was_interrupted_is_repeated(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the keys of others were moved, after the key was destroyed, after the rows were deleted."""
    from agent.store.writing.claims import Claims

    world.upload("a", **CLAIMS)
    world.upload("b", result={"keep": "claims", "claimsTtl": "2h"})
    async with world.running(poll_interval=30.0) as agent:
        await world.clock.advance(60)
        await world.clock.advance(3600)
        with monkeypatch.context() as broken:

            async def breaks(*_: object) -> None:
                raise OSError(28, "No space left on device")

            if at == "_close":
                broken.setattr(
                    ClaimsKeyring, "destroy", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error"))
                )
            else:
                broken.setattr(Claims, at, breaks)
            await agent._erasure.erase_due()  # it logs the failure and does not end the agent
            assert "not erased" in repr(world.logs)
        await agent._erasure.erase_due()
        assert len(rows(world.state)) == len(keys(world)) == 1
        assert len(opened(world.state, world.state.parent / "keys")) == 1
    assert world.history("a").count("ClaimsErased") == 1


async def test_an_admitted_request_without_a_key_is_held_and_continues_with_one(world: World) -> None:
    """A failing seal deletes nothing, and blocks nothing for ever."""
    world.upload("a", "sandbox-delay=10s", **CLAIMS)
    world.upload("b")
    async with world.running():
        await world.clock.advance(5)
    world.switches["claims_key"] = ""
    finished = await world.settle()
    assert not finished.unfinished
    record = world.record("a")
    assert record.hold is not None
    assert (record.hold.reason, record.hold.evidence) == ("claims-not-kept", "no-key")
    assert (record.outcome, record.phase) == (None, Phase.RESULT)
    assert [entry.deleted_at for entry in world.dossiers("a")] == [None]
    assert world.record("b").phase is Phase.DONE
    world.switches["claims_key"] = KEY
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert len(opened(world.state, world.state.parent / "keys")) == 1
    world.check()
    world.check_nothing_left()


async def test_a_failed_write_of_a_key_is_repeated_until_the_deadline_and_keeps_the_outcome(world: World) -> None:
    (world.state.parent).mkdir()
    (world.state.parent / "keys").write_text("not a folder")
    world.upload("a", deadline="2h", **CLAIMS)
    async with world.running(poll_interval=30.0):
        await world.clock.advance(60)
        record = world.record("a")
        assert record.hold is not None
        assert (record.hold.reason, record.hold.evidence) == ("claims-not-kept", "disk")
        await world.clock.advance(7200)
        record = world.record("a")
        assert (record.outcome, record.phase, record.claims_until) == ("accepted", Phase.DONE, None)
    assert rows(world.state) == []
    world.check()
    world.check_nothing_left()


async def test_keep_claims_without_a_key_is_refused_with_its_place(world: World) -> None:
    world.switches["claims_key"] = ""
    world.upload("a", **CLAIMS)
    world.upload("b")
    finished = await world.settle()
    assert finished.refused == 1
    with world.reading() as reading:
        (refusal,) = reading.refusals()
    line = (world.specs / "a.yaml").read_text().splitlines()[refusal.line - 1]
    assert line[refusal.column - 1 :] == "claims"
    assert "CLAIMS_KEY is not set" in refusal.message
    assert "ASSURE_AGENT_CLAIMS_KEY" in refusal.hint
    assert set(world.records()) == {"b"}


async def test_a_fresh_verification_has_claims_of_its_own(world: World) -> None:
    world.upload("a", **CLAIMS)
    await world.settle()
    world.upload("a", annotations={"assure-agent/rerun": "again"}, **CLAIMS)
    await world.settle()
    assert world.record("a").generation == 2
    assert [one.generation for one in rows(world.state)] == [1, 2]
    with world.reading() as reading:
        newest = reading.claims(world.record("a").uid)
    assert newest is not None
    assert newest.generation == 2
    world.clock.skip(7200)
    await world.settle()
    assert (rows(world.state), keys(world)) == ([], [])
