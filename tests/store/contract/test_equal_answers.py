"""Every read gives the same answer on both engines, for the same lives."""

import inspect
import secrets
from pathlib import Path
from types import GeneratorType
from typing import Any
from unittest import mock

from agent.core.observations import DocumentChanged, DocumentRemoved
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.core.source_revision import Revision
from agent.ports import Command, MetaKey
from agent.store.contract import Store
from tests.store import test_query_plans as calls
from tests.store.engines import PostgresEngine, SqliteEngine
from tests.store.support import committed
from tests.support.postgres_server import PostgresServer
from verification.builders import lives
from verification.builders.lives import Life
from verification.builders.records import BACK, FRONT, NOW, ORIGIN, capture, sealed, upload

_OF_THE_PLACE = {
    "store_bytes", "free_bytes", "data_version", "migrations", "freeze", "stream", "check_integrity", "engine_version",
}  # fmt: skip
_WRITES = {
    "commit", "record_scan", "record_refresh", "remember", "close_orphan", "found_orphan", "checkpoint",
    "record_restore", "make_claims_unreadable", "apply_command", "forget", "forget_in_replaced", "tidy",
    "check_integrity",
}  # fmt: skip


async def filled(store: Store) -> None:
    """Requests of every kind and in every phase, and what else a store may have."""
    for number, phase in enumerate(Phase):
        labels = (("team", "red" if number % 2 else "blue"),)
        await committed(store, Life(f"at-{phase}", upload(labels=labels, origin=ORIGIN, file="f.yaml")).until(phase))
    for number in range(6):
        await committed(store, Life(f"waits-{number}", upload(), at=NOW + 100 + number).until(Phase.RESULT))
    for number in range(3):
        gone = Life(f"settled-{number}", upload(images=(FRONT,))).until(Phase.DONE)
        gone.sees(DocumentRemoved)
        await committed(store, gone)
    linked = Life("linked", capture(), at=NOW + 200).until(Phase.RESULT)
    held = Life("held", upload(images=(FRONT,))).until(Phase.DONE)
    held.sees(DocumentChanged, desired=upload(essence="two", images=(BACK,)))
    claiming = Life("claiming").until(Phase.DONE)
    claiming.steps[-1].encrypted_claims = sealed(NOW + 60)
    for life in (linked, held, claiming):
        await committed(store, life)
    refused = [("b.yaml", 2, 1, "m", "h", "b"), ("a.yaml", 1, 1, "m", "h", None)]
    revision = Revision(commit="a" * 40, committed_at=NOW, signer=ORIGIN.signer)
    await store.record_scan("default", NOW, 9, True, 2, refused, revision=revision)
    await store.apply_command(Command(id="c1", verb="resolve", uid="held", sender="root"), "well", NOW)
    await store.remember(MetaKey.CIRCUIT, "value")
    await store.remember(MetaKey.PAUSED, NOW)
    await store.recoveries.begin(NOW)
    await store.recoveries.suspect("waits-1", "aa-a1-u-1-1", "D", NOW)


async def answers(store: Store, reading: Any) -> dict[str, Any]:
    """The answer of each read, by the name of its class and method."""
    owners = {
        "store": (store, {name: call for name, call in calls.STORE.items() if name not in _WRITES}),
        "recoveries": (store.recoveries, {name: calls.RECOVERIES[name] for name in _READS_OF_RECOVERIES}),
        "inbox": (store.inbox, {name: calls.INBOX[name] for name in ("is_known", "find_request")}),
        "outbox": (store.outbox, {"pending": calls.OUTBOX["pending"]}),
        "images": (
            store.image_deletions,
            {name: calls.DISCARDS[name] for name in ("due", "superseded", "has_pending")},
        ),
        "claims": (store.claims, {name: calls.CLAIMS[name] for name in ("expired", "of")}),
        "reading": (reading, {name: call for name, call in calls.READING.items() if name not in _OF_THE_PLACE}),
    }
    found = {}
    for kind, (owner, reads) in owners.items():
        for name, call in reads.items():
            came = call(owner)
            found[f"{kind}.{name}"] = [
                await one if inspect.isawaitable(one) else one for one in (came if isinstance(came, list) else [came])
            ]
    return {name: _comparable(answer) for name, answer in found.items()}


# Their order is that of the rows, or of times that are equal here.
_UNORDERED = {"recoveries.possibly_stale", "images.due", "store.open_requests", "reading.counters"}
_READS_OF_RECOVERIES = ("open", "possibly_stale", "held_history_lost", "last_scan_at", "previously_unclaimed")


def _comparable(answer: Any) -> Any:
    """Rows of any kind as tuples, and numbers of the place itself left out."""
    if isinstance(answer, list | GeneratorType):
        return [_comparable(one) for one in answer]
    if isinstance(answer, dict):
        return {key: one for key, one in answer.items() if key not in _OF_THE_PLACE | _GAUGES_OF_THE_PLACE}
    return tuple(answer) if type(answer).__name__ in ("Row", "Record") and not hasattr(answer, "uid") else answer


_GAUGES_OF_THE_PLACE = {"store_free_bytes", "replicas", "oldest_snapshot_seconds"}


async def test_both_engines_give_the_same_answers(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lives, "DEFAULT_POLICY", Policy(discard_images=True))
    key, found = "5a" * 32, {}
    for engine in (SqliteEngine(tmp_path / "one"), PostgresEngine(tmp_path / "other", postgres_server)):
        await engine.begin()
        (engine.folder / "agent.key").write_text(key + "\n")
        with mock.patch.object(secrets, "token_hex", lambda size: "5a" * size):  # salts are random
            store = await engine.open(sinks=[calls.SINK])
            if (recovery := await store.recoveries.open()) is not None:
                await store.recoveries.close(recovery.at)
            await filled(store)
        with engine.reading() as reading:
            found[engine.kind] = await answers(store, reading)
        await engine.end()
    one, other = found.values()
    for answer_of in found.values():
        for name in _UNORDERED:
            answer_of[name] = [sorted(answer, key=repr) for answer in answer_of[name]]
    assert {name: (one[name], other[name]) for name in one if one[name] != other[name]} == {}
    assert len(one) > 70
