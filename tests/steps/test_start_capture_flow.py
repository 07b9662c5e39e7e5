"""Step G, use case 1: the hosted capture flow and its link (contract §10)."""

import httpx
import pytest
from typer.testing import CliRunner

from agent.cli.app import create_app
from agent.core.errors import AgentError
from agent.core.policy import Policy
from agent.core.record import HoldReason, Phase
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin
from tests.support.links import page_of
from tests.support.timeouts import PATIENT

POLICY = Policy()
EVERYTHING = {
    "redirectUrl": "https://shop.example/verified?order=17",
    "uiProfile": "my-profile",
    "language": "nl",
    "defaultCountry": "NLD",
    "requestDomain": "shop.app.signicat.com",
}


def get_link(world: World, name: str) -> str | None:
    """The link that `get NAME --link` prints, or None without one."""
    result = CliRunner().invoke(create_app(), ["get", name, "--link", "--state-url", f"sqlite:///{world.state}"])
    if result.exit_code:
        assert isinstance(result.exception, AgentError)
        assert "no capture link" in str(result.exception)
        return None
    return result.stdout.strip()


async def person(link: str, **form: str) -> httpx.Response:
    """A person opens the link and is done."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as browser:
        page = await browser.get(page_of(link))
        return await browser.post(page_of(link), data=form) if page.status_code == 200 else page


@pytest.mark.parametrize("process_type", ["document", "documentSelfie"])
async def test_the_capture_flow_is_requested_with_redirect_url_and_process_type(
    world: World, process_type: str
) -> None:
    bodies = world.intercept("start")
    world.capture("a", processType=process_type)
    await world.settle()
    assert bodies == [
        {
            "providers": [{"provider": "signicatpictureid", "processType": process_type}],
            "sdk": "capture",
            "redirectUrl": "https://shop.example/done",
        }
    ]
    assert world.record("a").outcome == "accepted"
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


async def test_the_optional_parameters_are_in_the_fields_that_assure_expects(world: World) -> None:
    bodies = world.intercept("start")
    world.capture("a", capture=EVERYTHING)
    await world.settle()
    (body,) = bodies
    assert body["redirectUrl"] == EVERYTHING["redirectUrl"]
    assert body["requestDomain"] == "shop.app.signicat.com"
    assert body["captureParameters"] == {
        "uiProfile": "my-profile",
        "uiLanguage": "nl",
        "defaultCountry": "NLD",
    }
    world.check()


@pytest.mark.parametrize("appears", ["at-start", "at-open"])
async def test_the_process_is_found_through_get_dossier_whenever_it_appears(begin: Begin, appears: str) -> None:
    world = await begin(capture_process=appears, interactive=True)
    world.capture("a")
    async with world.running():
        await world.clock.advance(12)
        processes = world.dossiers("a")[0].processes
        assert len(processes) == (1 if appears == "at-start" else 0)
        assert world.record("a").process_id is None
        link = get_link(world, "a")
        assert link is not None
        gone = await person(link, action="done", outcome="rejected")
        assert gone.headers["location"].startswith("https://shop.example/done?dossierId=")
        await world.clock.advance(30)
        record = world.record("a")
        assert record.outcome == "rejected"
        assert record.process_id == world.dossiers("a")[0].processes[0].process_id
    assert "getProcess" in world.calls
    assert world.calls.count("getDossier") <= 2  # when it was sighted, and after its deletion
    world.check()
    world.check_nothing_left()


async def test_the_link_is_delivered_only_while_the_end_user_may_use_it(begin: Begin) -> None:
    """[I6]"""
    world = await begin(interactive=True)
    world.capture("a")
    async with world.running():
        link = get_link(world, "a")
        assert link is not None
        assert link.startswith(f"{world.sandbox.url}/assure/capture/#/artifact=")
        token = link.rpartition("=")[2]
        assert (await person(link, action="done", outcome="accepted")).status_code == 303
        await world.clock.advance(60)
        assert world.record("a").phase is Phase.DONE
        assert get_link(world, "a") is None
    assert token.encode() not in world.state_bytes()
    assert token not in repr(world.logs)


async def test_the_link_is_erased_at_the_deadline(begin: Begin) -> None:
    """[I6]"""
    world = await begin(interactive=True)
    world.capture("a", deadline="10m")
    async with world.running():
        assert get_link(world, "a") is not None
        await world.clock.advance(700)
        assert world.record("a").outcome == "expired"
        assert get_link(world, "a") is None
    world.check()
    world.check_nothing_left()


async def test_the_link_is_in_its_own_table_and_nowhere_else(begin: Begin) -> None:
    """[I6]"""
    world = await begin(interactive=True)
    world.capture("a")
    async with world.running():
        link = get_link(world, "a")
        assert link is not None
        token = link.rpartition("=")[2]
        tables = [row[0] for row in world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        holding = [table for table in tables if any(token in repr(row) for row in world.rows(f"SELECT * FROM {table}"))]
        assert holding == ["links"]
        assert token not in repr(world.logs)
        assert token not in repr(world.record("a"))


async def test_delivering_the_link_counts_as_the_start(begin: Begin) -> None:
    """[I2]"""
    world = await begin(interactive=True)
    path = world.capture("a")
    async with world.running() as agent:
        assert world.record("a").billed
        path.write_text(path.read_text().replace("shop.example/done", "shop.example/elsewhere"))
        await agent.scan()
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason == "changed-after-start"
    assert world.starts("a") == 1


@pytest.mark.parametrize("action", ["done", "cancel"])
async def test_the_action_of_the_end_user_decides(begin: Begin, action: str) -> None:
    world = await begin(interactive=True)
    world.capture("a")
    async with world.running():
        link = get_link(world, "a")
        assert link is not None
        await person(link, action=action, outcome="accepted")
        await world.clock.advance(30)
        assert world.record("a").outcome == ("accepted" if action == "done" else "canceled")


@pytest.mark.parametrize("kind", ["reset-before", "reset-after", "truncated", "500", "html"])
async def test_a_lost_link_costs_the_dossier_and_the_flow_starts_again(world: World, kind: str) -> None:
    """[I2] [I3] The lost link reached no end user, so the flow can never be used."""
    world.sandbox.faults.add([rule("createArtifact", kind)])
    world.capture("a")
    await world.settle()
    first, second = world.dossiers("a")
    assert first.deleted_at is not None
    assert first.deleted_at <= second.created_at
    assert (second.reference or "").endswith("-1-2")
    assert second.captures == 1
    assert world.record("a").outcome == "accepted"
    assert world.rows("SELECT value FROM counters WHERE counter = 'start'") == [(1,)]
    world.check()
    world.check_nothing_left()


async def test_a_request_whose_link_is_never_readable_is_held_after_a_few_attempts(world: World) -> None:
    """Each of these flows may be billed, although no end user can open it."""
    world.sandbox.faults.add([rule("createArtifact", "foreign", every=1, status=201)])
    world.capture("a")
    async with world.running():
        await world.clock.advance(3600)
    record = world.record("a")
    assert record.hold is not None
    assert (record.hold.reason, record.phase) == (HoldReason.UNEXPECTED_ANSWER, Phase.DOSSIER)
    assert "start_capture 201" in record.hold.evidence
    assert len(world.dossiers("a")) == POLICY.unexpected_answers + 1
    world.check_nothing_left()

    world.sandbox.faults.clear()
    world.capture("a", annotations={"assure-agent/resolve": f"retry@{record.hold.id}"})
    await world.settle()
    assert world.record("a").outcome == "accepted"
    world.check_nothing_left()
