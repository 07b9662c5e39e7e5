"""Writes that are not steps: notifications, receipts, image files, claims, recoveries, commands and erasure."""

import json
import math

import pytest

from agent.core.effect import ClaimsRequest
from agent.core.errors import AgentError, StoreError, StoreLocked
from agent.core.machine import step
from agent.core.observations import DocumentChanged, Resumed
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.ports import Command, MetaKey, Receipt
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders import lives
from verification.builders.lives import DEFAULT_POLICY, Life
from verification.builders.records import BACK, FRONT, NOW, ORIGIN, sealed, upload

SINKS = ("one-sink", "another-sink")
LABELS = (("team", "canary-label"),)


async def test_a_notification_stays_until_its_sink_has_it(engine: Engine) -> None:
    store = await engine.open(sinks=SINKS)
    await committed(store, Life("u1").until(Phase.DONE))
    first, *others = pending = await store.outbox.pending(SINKS[0], 0, 100)
    assert {(one.uid, one.name) for one in pending} == {("u1", "name-u1")}
    assert [one.id for one in await store.outbox.pending(SINKS[0], first.id, 100)] == [one.id for one in others]
    await store.outbox.acknowledge([first.id])
    await store.aclose()
    store = await engine.open(sinks=SINKS)
    assert await store.outbox.pending(SINKS[0], 0, 100) == others
    assert len(await store.outbox.pending(SINKS[1], 0, 100)) == len(pending)
    await store.aclose()


async def test_the_oldest_notifications_of_a_sink_are_dropped_and_those_of_sinks_that_are_gone(engine: Engine) -> None:
    store = await engine.open(sinks=SINKS)
    await committed(store, Life("u1").until(Phase.DONE))
    pending = await store.outbox.pending(SINKS[0], 0, 100)
    assert len(pending) > 1
    assert await store.outbox.trim(SINKS[0], 1) == len(pending) - 1
    assert await store.outbox.pending(SINKS[0], 0, 100) == pending[-1:]
    assert await store.outbox.keep_only([SINKS[0]]) == len(pending)
    assert await store.outbox.pending(SINKS[1], 0, 100) == []
    assert await store.outbox.keep_only([]) == 1
    await store.aclose()


async def test_a_receipt_is_committed_with_its_step_and_forgotten_in_time(engine: Engine) -> None:
    """[I2] A repeated event is recognized, also after a restart."""
    store = await engine.open()
    life = Life("u1")
    await store.commit(life.steps, Receipt(digest="first", at=NOW, forget_before=0.0))
    await store.inbox.remember_event(Receipt(digest="first", at=NOW, forget_before=0.0))
    await store.aclose()
    store = await engine.open()
    assert await store.inbox.is_known("first")
    assert not await store.inbox.is_known("second")
    await store.inbox.remember_event(Receipt(digest="second", at=NOW + 9, forget_before=NOW + 1))
    assert (await store.inbox.is_known("first"), await store.inbox.is_known("second")) == (False, True)
    with pytest.raises(AgentError):
        await store.commit(
            [Life("u2", name=life.record.name).steps[0]], Receipt(digest="none", at=NOW, forget_before=0)
        )
    assert not await store.inbox.is_known("none")
    await store.aclose()


async def test_an_event_finds_the_request_of_its_dossier(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1").until(Phase.RESULT))
    uid = 24 * "a"
    await committed(store, Life(uid).until(Phase.PROCESS))
    assert await store.inbox.find_request("D-u1", None) == "u1"
    assert await store.inbox.find_request("D-nobody", f"aa-a1-{uid}-1-1") == uid
    assert await store.inbox.find_request(None, f"aa-a1-{uid}-1-2") is None
    await store.aclose()


async def test_image_files_are_deleted_once_and_a_failure_is_tried_again_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I6]"""
    monkeypatch.setattr(lives, "DEFAULT_POLICY", Policy(discard_images=True))
    store = await engine.open()
    life = Life("u1", upload(images=(FRONT,))).until(Phase.DONE)
    life.sees(DocumentChanged, desired=upload(essence="two", images=(BACK,), rerun="again"))
    await committed(store, life)
    deletions = store.image_deletions
    await store.aclose()
    store = await engine.open()
    deletions = store.image_deletions
    for one in await deletions.due(math.inf):
        await deletions.failed(one, NOW, "EROFS", {"front": "deleted"})
        assert await deletions.due(NOW + 59) == []
        (again,) = await deletions.due(NOW + 61)
        assert (again.uid, again.tries, again.how) == ("u1", 1, {"front": "deleted"})
    (old,) = await deletions.superseded(math.inf)
    assert (old.uid, old.depiction, await store.has_pending_image_deletions("u1")) == ("u1", "front", True)
    await deletions.superseded_failed(old, NOW, "EACCES")
    with engine.reading() as reading:
        assert ("EACCES", 1) in reading.failed_image_deletions()
    await deletions.superseded_done(old, NOW, "deleted")
    assert await deletions.superseded(math.inf) == []
    assert not await store.has_pending_image_deletions("u1")
    assert await engine.rows("SELECT path, sha256, how FROM superseded_images") == [(None, None, "deleted")]
    await store.aclose()


async def test_expired_claims_become_unreadable_before_they_are_erased(engine: Engine) -> None:
    """[I6] Those that stay are readable with another key."""
    engine.keep_claims()
    store = await engine.open()
    keyring = store.claims.keyring
    for uid, ttl in (("u1", 60.0), ("u2", 3600.0)):
        life = Life(uid).until(Phase.DONE)
        life.steps[-1].encrypted_claims = keyring.encrypt(
            ClaimsRequest(uid=uid, generation=1, ttl=ttl), b"of " + uid.encode(), NOW
        )
        await committed(store, life)
    (expired,) = await store.claims.expired(NOW + 61)
    assert expired.uid == "u1"
    assert keyring.open(expired) == b"of u1"
    assert await store.claims.make_unreadable([expired]) == [expired]
    with pytest.raises(AgentError, match="is gone"):
        keyring.open(expired)
    await store.claims.erase([expired])
    with engine.reading() as reading:
        assert reading.claims("u1") is None
        (kept,) = [reading.claims("u2")]
    assert kept is not None
    assert keyring.open(kept) == b"of u2"
    assert await store.make_claims_unreadable("u2")
    assert not await store.make_claims_unreadable("u2")
    await store.claims.sweep(NOW + 10 * 86_400)
    assert await engine.rows("SELECT * FROM claims") == []
    await store.aclose()


async def test_a_recovery_is_noted_approved_and_closed(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1").until(Phase.RESULT))
    recoveries = store.recoveries
    assert await recoveries.open() is None
    await recoveries.begin(NOW)
    await recoveries.begin(NOW + 1)  # one at a time
    assert await recoveries.possibly_stale() == ["u1"]
    await recoveries.record_search(NOW + 2, [("D-other", "aa-a1-other-1-1"), ("D-other", "aa-a1-other-1-1")])
    await recoveries.record_search(NOW + 3, [("D-last", "aa-a1-last-1-1")])
    assert await recoveries.previously_unclaimed(["D-other", "D-last", "D-u1"]) == {"D-last"}
    await recoveries.suspect("u1", "aa-a1-u1-1-9", "D-empty", NOW)
    await recoveries.suspect("u1", "aa-a1-u1-1-9", "D-empty", NOW)
    assert [(one[0], one[2]) for one in await store.orphans()] == [("aa-a1-u1-1-9", "D-empty")]
    await recoveries.approve(NOW + 4)
    found = await recoveries.open()
    assert found is not None
    assert (found.at, found.cause, found.scanned_at, found.approved_at) == (NOW, "older", NOW + 3, NOW + 4)
    await recoveries.close(NOW + 5)
    assert await recoveries.open() is None
    assert await recoveries.last_scan_at() == NOW + 3
    await store.aclose()


async def test_a_command_is_executed_once_and_is_in_the_history_of_its_request(engine: Engine) -> None:
    store = await engine.open()
    life = await committed(store, Life("u1").until(Phase.RESULT))
    command = Command(id="c1", verb="resolve", uid="u1", sender="root")
    after = step(life.record, Resumed(at=life.at + 1), DEFAULT_POLICY)
    await store.apply_command(command, "done", NOW, [after] if after.changed else [])
    with pytest.raises((StoreError, AgentError)):
        await store.apply_command(command, "again", NOW)
    await store.apply_command(Command(id="c2", verb="pause"), "paused", NOW + 1)
    assert (await store.command_answer("c1"), await store.command_answer("c2")) == ("done", "paused")
    assert await engine.rows("SELECT number, id, verb, uid, sender FROM commands ORDER BY number") == [
        (1, "c1", "resolve", "u1", "root"),
        (2, "c2", "pause", None, None),
    ]
    assert await engine.rows("SELECT type FROM events WHERE uid = 'u1' ORDER BY seq DESC LIMIT 1") == [
        ("CommandApplied",)
    ]
    assert engine.faults() == []
    await store.aclose()


async def test_what_is_forgotten_is_in_no_table_and_its_history_stays_whole(engine: Engine) -> None:
    """[I5, I6]"""
    store = await engine.open()
    document = upload(labels=LABELS, origin=ORIGIN, file="canary-file.yaml")
    life = Life("u1", document, name="canary-name").until(Phase.DONE)
    life.steps[-1].encrypted_claims = sealed(NOW + 60)
    await committed(store, life)
    await store.apply_command(Command(id="c1", verb="resolve", uid="u1"), "canary-answer", NOW)
    words = ("canary-name", "canary-label", "canary-file", str(ORIGIN.author), str(ORIGIN.signer), "canary-answer")
    assert all([await engine.tables_with(word) for word in words])
    assert await store.forget("u1", NOW + 1)
    assert [await engine.tables_with(word) for word in words] == [[]] * len(words)
    assert engine.faults() == []
    kind, changes = (await engine.rows("SELECT type, changes FROM events ORDER BY id DESC LIMIT 1"))[0]
    assert (kind, [*json.loads(changes)]) == ("NameErased", ["forgotten"])
    await store.aclose()


async def test_what_is_remembered_survives_a_restart(engine: Engine) -> None:
    store = await engine.open()
    await store.remember(MetaKey.CIRCUIT, "open")
    await store.remember(MetaKey.PAUSED, NOW)
    await store.aclose()
    store = await engine.open()
    assert (await store.recall(MetaKey.CIRCUIT), await store.recall_time(MetaKey.PAUSED)) == ("open", NOW)
    await store.remember(MetaKey.PAUSED, None)
    assert await store.recall_time(MetaKey.PAUSED) is None
    await store.aclose()


async def test_a_second_agent_is_refused_and_the_first_one_goes_on(engine: Engine) -> None:
    """[I7]"""
    store = await engine.open()
    if store.shared:
        pytest.skip("a database is for several replicas")
    with pytest.raises(StoreLocked) as refused:
        await engine.open(None)
    assert refused.value.hint
    await committed(store, Life("u1"))
    await store.aclose()
    store = await engine.open(None)
    assert await store.get("u1") is not None
    await store.aclose()


async def test_a_store_that_is_moved_to_another_account_forgets_what_it_remembered_of_assure(engine: Engine) -> None:
    store = await engine.open("https://one.example client")
    await committed(store, Life("u1").until(Phase.PROCESS))  # it has called Assure
    await store.remember(MetaKey.DOCUMENT_TYPES, "[]")
    await store.aclose()
    with pytest.raises(StoreError, match="another Assure account"):
        await engine.open("https://two.example client")
    store = await engine.open("https://two.example client", rebind=True)
    assert await store.recall(MetaKey.DOCUMENT_TYPES) is None
    assert await store.recall(MetaKey.ACCOUNT) == "https://two.example client"
    await store.aclose()
