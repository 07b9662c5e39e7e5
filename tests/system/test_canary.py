"""Every path of a request with unmistakable values, and a search for them in all files and output [I6].

The paths are all outcomes in both use cases, with and without claims, every kind of fault, and a crash in each call.
Further paths are a hold, and claims that are shown, expire and are forgotten. The tests read logs before their keys are
filtered, because no log may rely on the filter.
"""

import asyncio
import itertools
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from agent.core.record import Outcome
from agent.platform.settings import Settings
from agent.store.audit.query_library import OPEN
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.sqlite.audit_queries import SqliteQueries
from agent.store.sqlite.backup import back_up
from tests.controller.test_crash import crash
from tests.support.canaries import OURS, PERSONAL, PICTURE, leaks
from tests.support.environment import World
from tests.support.faults import rule
from tests.system.test_claims import keys, opened, rows
from verification.audits import export_lines
from verification.builders.pictures import jpeg
from verification.builders.request_files import write

KEY = "Secret-Canary: a claims key of the tests, long enough"
SECRETS = (KEY, PICTURE, "Token-Canary")
TOKEN = "Token-Canary-of-the-interface"
CALLS = ("createDossier", "createProcess", "setImages", "startVerification", "createArtifact", "deleteDossier")
TROUBLE = ("429", "500", "503", "reset-before", "reset-after", "truncated", "foreign", "html", "revoke-token")
CLAIMS = {"keep": "claims", "claimsTtl": "1h"}


@pytest.fixture
def requests(world: World) -> list[str]:
    """One for each outcome that Assure decides, in both use cases, with claims and without."""
    world.switches |= {"claims_key": KEY, "images_after_upload": "delete", "api_token": TOKEN}
    names = []
    for outcome, result in itertools.product(
        ("accepted", "rejected", "inconclusive", "failed"), (CLAIMS, {"keep": "outcome"})
    ):
        more = {"result": result, "labels": {"team": "Label-Canary"}}
        name = f"canary-person-{outcome}-{result['keep']}"
        world.upload(f"{name}-u", f"{PICTURE} sandbox-outcome={outcome}", processType="documentSelfie", **more)
        capture = {"redirectUrl": "https://shop.example/Redirect-Canary", "uiProfile": f"sandbox-outcome-{outcome}"}
        world.capture(f"{name}-c", capture=capture, **more)
        names += [f"{name}-u", f"{name}-c"]
    capture = {"redirectUrl": "https://shop.example/Redirect-Canary", "uiProfile": "sandbox-outcome-canceled"}
    world.capture("canary-person-canceled", capture=capture, result=CLAIMS)
    return [*names, "canary-person-canceled"]


def state_files(world: World) -> Iterator[Path]:
    return (path for path in world.state.parent.rglob("*") if path.is_file())


def nothing_leaked(world: World, *said: bytes) -> None:
    """Search the files on disk, all logs so far, and other output."""
    for path in state_files(world):
        written = path.read_bytes()
        assert leaks(written, (*PERSONAL, *SECRETS)) == [], path.name
        assert leaks(os.fsencode(path), OURS) == []
        if path.suffix in (".jsonl", ".key", ".lock"):
            assert leaks(written, OURS) == [], path.name
    for text in (repr(world.logs).encode(), *said):
        assert leaks(text, (*PERSONAL, *SECRETS, *OURS, "capture.example")) == []


async def said_of(world: World, metrics: bool = True) -> list[bytes]:
    """Metrics, health and all other public answers, and the export."""
    texts = [orjson.dumps(list(export_lines(world.state, world.clock.now())))]
    for path in ("metrics", "healthz", "readyz") if metrics else ():
        try:
            answer = await asyncio.to_thread(urllib.request.urlopen, f"{world.url}/{path}")
        except urllib.error.HTTPError as error:  # a fault may make the agent not ready, and the answer names the cause
            answer = error
        texts.append(answer.read())
    return texts


async def shown_by(world: World) -> bytes:
    """The page and the API, for a client with the token: names, and no other personal value."""
    texts = [repr([Settings.model_fields.keys(), world.settings()]).encode()]
    uid = world.record("canary-person-accepted-claims-u").uid
    for path in ("", f"requests/{uid}", "api/requests", "api/requests/canary-person-canceled"):
        request = urllib.request.Request(f"{world.url}/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        answer = await asyncio.to_thread(urllib.request.urlopen, request)
        texts.append(answer.read())
    return b"".join(texts)


async def test_no_byte_holds_a_personal_value_in_any_case(world: World, requests: list[str]) -> None:
    """[I6] From the first call to the day on which the claims are over."""
    world.sandbox.faults.add([rule("*", kind, rate=0.03) for kind in TROUBLE])
    async with world.running(http=True, poll_interval=10.0):
        for _ in range(6):
            await world.clock.advance(20)
            nothing_leaked(world, *await said_of(world))
        shown = await shown_by(world)
        assert leaks(shown, (*PERSONAL, *SECRETS)) == []
        assert leaks(shown, ("canary-person",)) != []
    world.sandbox.faults.clear()
    await world.settle()
    outcomes = {name: world.record(name).outcome for name in requests}
    assert outcomes == {name: name.split("-")[2] for name in requests}
    nothing_leaked(world, *await said_of(world, metrics=False))
    clear = opened(world.state, world.state.parent / "keys", KEY)
    assert len(clear) == 2  # so there was something to be found
    assert leaks(b"".join(clear), PERSONAL) == list(PERSONAL)
    backup = back_up(world.state, world.folder / "backup.db").path
    world.clock.skip(3600)
    await world.settle()
    assert (rows(world.state), keys(world)) == ([], [])
    nothing_leaked(world, *await said_of(world, metrics=False))
    assert leaks(backup.read_bytes(), (*PERSONAL, *SECRETS, "capture.example")) == []
    assert len(rows(backup)) == 2
    assert opened(backup, world.state.parent / "keys", KEY) == []


@pytest.mark.parametrize("call", CALLS)
async def test_no_crash_leaves_a_personal_value_behind(world: World, requests: list[str], call: str) -> None:
    """[I6] The files after `kill -9` are searched as they are, above all the write-ahead log."""
    await crash(world, rule(call, "hang", acts=True, nth=3))
    nothing_leaked(world)
    await world.settle()
    assert len(opened(world.state, world.state.parent / "keys", KEY)) == 2
    nothing_leaked(world, *await said_of(world, metrics=False))


async def test_the_outcomes_that_the_agent_decides_leave_no_personal_value(world: World) -> None:
    """[I6] Expired, withdrawn, abandoned, lost; and claims that could not be kept."""
    world.switches |= {"claims_key": KEY}
    picture = f"{PICTURE} sandbox-delay=600m"
    for outcome, more in (("expired", {"deadline": "2m"}), ("withdrawn", {}), ("abandoned", {}), ("lost", {})):
        world.upload(f"canary-person-{outcome}", picture, result=CLAIMS, **more)
    (world.state.parent / "keys").mkdir(parents=True)
    (world.state.parent / "keys").rmdir()
    (world.state.parent / "keys").write_text("no place for keys")
    world.upload("canary-person-accepted", PICTURE, deadline="30m", result=CLAIMS)
    async with world.running(http=True, poll_interval=30.0) as agent:
        await world.clock.advance(60)
        lost = world.record("canary-person-lost").dossier_id
        assert lost is not None
        world.sandbox.world.delete_dossier(lost)  # by somebody else
        (world.specs / "canary-person-withdrawn.yaml").unlink()
        abandoned = world.specs / "canary-person-abandoned.yaml"
        write(abandoned, abandoned.read_text().replace("137", "138"))
        for _ in range(2):
            await agent.scan()
        hold = world.record("canary-person-abandoned").hold
        assert hold is not None
        answer = {"assure-agent/resolve": f"abandon@{hold.id}"}
        write(abandoned, abandoned.read_text().replace("metadata:\n", f"metadata:\n  annotations: {answer}\n"))
        write(world.specs / "broken.yaml", "metadata: {name: canary-person-broken, labels: {a: Label-Canary}}\n")
        await agent.scan()
        await world.clock.advance(3600)
        nothing_leaked(world, *await said_of(world))
    outcomes = {name.split("-")[2]: record.outcome for name, record in world.records().items()}
    assert outcomes == {name: name for name in ("expired", "withdrawn", "abandoned", "lost", "accepted")}
    assert set(outcomes) | {"rejected", "inconclusive", "failed", "canceled"} == set(Outcome)
    nothing_leaked(world, *await said_of(world, metrics=False))


async def test_names_and_labels_are_only_in_the_documented_tables(world: World, requests: list[str]) -> None:
    """[I6] Table by table: in `requests`, `labels` and `refusals`, and nowhere else."""
    write(world.specs / "broken.yaml", "metadata: {name: canary-person-broken}\n")
    write(world.images / "x.jpg", jpeg(PICTURE))
    await world.settle()
    tables = [row[0] for row in world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    named = {table for table in tables if leaks(repr(world.rows(f"SELECT * FROM {table}")).encode(), OURS)}
    assert named == {"requests", "labels", "refusals"}
    for table in OPEN & set(tables):  # what an auditor may ask
        with SqliteQueries(world.state).run(f"SELECT * FROM {table}", {}) as answer:
            assert leaks(repr(list(answer.rows)).encode(), (*PERSONAL, *SECRETS)) == []


def test_the_search_finds_a_value_in_every_spelling() -> None:
    """Without this the tests above would prove nothing."""
    import base64
    import gzip

    value = PERSONAL[0]
    for text in (
        value, value.upper(), value.encode().hex(), f"xx{value}yy",
        *(base64.b64encode(f"{'x' * shift}{value}yyy".encode()).decode() for shift in range(6)),
    ):  # fmt: skip
        assert leaks(text.encode(), PERSONAL) == [value], text
    assert leaks(value.encode("utf-16-le"), PERSONAL) == [value]
    assert leaks(gzip.compress(value.encode()), PERSONAL) == [value]
    assert leaks(b"nothing of the kind", (*PERSONAL, *OURS, *SECRETS)) == []
    assert ClaimsKeyring(Path("keys"), KEY).usable
    assert leaks(repr(ClaimsKeyring(Path("keys"), KEY)).encode(), SECRETS) == []
