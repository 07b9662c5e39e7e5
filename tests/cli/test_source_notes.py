"""Commands say when the agent does not act on the newest revision, and name the repository instead of a folder."""

import asyncio

import pytest

from agent.assure.account import account_of
from agent.cli.progress import Progress
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal
from agent.platform.settings import Settings
from agent.store.sqlite.store import SqliteStore
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]

ACTED, REFUSED = "a" * 40, "b" * 40


async def refused(world: World, reason: RevisionRefusal, failure: FetchFailure | None = None) -> None:
    """A store whose agent does not act on the newest revision."""
    world.upload("x")
    await world.settle()
    store = SqliteStore(world.state, account_of(world.settings()))
    acted = Revision(commit=ACTED, committed_at=90.0)
    await store.record_scan("default", 100.0, 1, True, 0, None, revision=acted)
    why = RefusedRevision(revision=REFUSED, reason=reason, commit=REFUSED, since=200.0)
    await store.record_refresh("default", 200.0, True, why, None)
    if failure is not None:
        await store.record_refresh("default", 300.0, False, None, failure)
    store.close()


async def test_get_names_the_refused_revision_and_the_failed_fetch(world: World, here: Here) -> None:
    await refused(world, RevisionRefusal.UNSIGNED, FetchFailure.TLS)
    on_world(here, world)
    notes = here("get").out.splitlines()[-2:]
    assert notes[0].startswith(
        "The certificate of the git server is not trusted, since 1970-01-01T00:05:00.000Z. Try: "
    )
    assert notes[1].startswith(
        "The agent does not act on revision bbbbbbbbbbbb, because commit bbbbbbbbbbbb has no sig"
    )
    assert list(here("get", "-o", "json").json) == ["items", "refused"]
    assert "revision" not in here("get", SOURCE_NAME="other").out


async def test_approve_names_the_revision_that_it_would_approve(world: World, here: Here) -> None:
    await refused(world, RevisionRefusal.NOT_DESCENDED)
    said = on_world(here, world)("approve", "--dry-run")
    assert said.out == (
        "The agent acts on revision bbbbbbbbbbbb, which does not descend from aaaaaaaaaaaa, "
        "if its signatures are as SOURCE_VERIFY requires.\n"
    )


async def test_approve_sends_the_revision_that_it_named(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I2] Another one may arrive before the operator answers."""
    await refused(world, RevisionRefusal.NOT_DESCENDED)
    sent = list[dict[str, object]]()

    def answered(_: object, verb: str, **given: object) -> str:
        sent.append({"verb": verb, **given})
        return "approved"

    monkeypatch.setattr("agent.cli.approve.send_command", answered)
    assert on_world(here, world)("approve", "--yes").code == 0
    assert sent == [{"verb": "approve", "revision": "b" * 40}]


async def test_a_signature_cannot_be_approved(world: World, here: Here) -> None:
    await refused(world, RevisionRefusal.UNKNOWN_SIGNER)
    said = await asyncio.to_thread(on_world(here, world), "approve", "--dry-run")
    assert said.out == "Nothing waits for an approval.\n"


def test_run_names_the_repository() -> None:
    url = "https://git.example/team/requests.git"
    shown = Progress(Settings(source_url=url, source_path="specs"), running=True, sandbox=False, interactive=False)
    assert f"requests: {url}, branch main, folder specs\n" in f"{shown._locations}\n"
    shown = Progress(Settings(source_url=url), running=True, sandbox=False, interactive=False)
    assert f"requests: {url}, branch main\n" in f"{shown._locations}\n"
