"""`logs` and `events`: the audit log in plain words, and how both follow the store."""

import asyncio
import signal

import orjson
import pytest

from agent.core import observations
from agent.core.effect import EffectKind
from agent.platform.clock import SystemClock
from agent.store.audit.event_reader import EventReader
from agent.store.sqlite.connection import reader
from agent.views.event_sentences import EVENTS, event_sentence
from agent.views.phrases import EFFECTS
from tests.cli.command_runner import Here, finish, on_world, spawn, wait_for
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD

__all__ = ["begin", "world"]

WITHOUT_OBSERVATION = {"Admitted", "CommandApplied", "NameErased"}


def kinds() -> set[str]:
    """The names of the observations; bases that have no instances are left out."""
    known = [one for one in vars(observations).values() if isinstance(one, type)]
    found = {one for one in known if issubclass(one, observations.Observation)}
    bases = {base for one in found for base in one.__bases__} - {observations.PersonalDataDisclosed}
    return {one.__name__ for one in found - bases}


@pytest.fixture
def state(world: World, here: Here) -> Here:
    return on_world(here, world)


def test_every_observation_has_its_sentence() -> None:
    assert set(EVENTS) == kinds() | WITHOUT_OBSERVATION


def test_a_sentence_has_the_answer_and_the_consequences() -> None:
    changes = {
        "outcome": "expired",
        "billed": True,
        "generation": 2,
        "hold": {"id": "h1", "reason": "history-lost"},
        "doubt": "create_dossier",
        "phase": "done",
        "intent": {"effect": "delete_dossier", "number": 3},
    }
    assert event_sentence("EffectUnanswered", changes, 502, "timeout") == (
        "Assure did not answer, so the call may have had an effect (HTTP 502, timeout). Generation 2 begins. "
        "Outcome: expired. Held: history-lost (h1). Counts as billed. Unknown whether it happened: create a dossier. "
        "It is finished, and nothing of it is left at Assure. Next: delete the dossier."
    )
    assert event_sentence("Admitted", {"generation": 1, "intent": None, "hold": None}) == f"{EVENTS['Admitted']}."
    assert event_sentence("OfALaterVersion", {}) == "Of a later version."


async def test_logs_show_one_request_and_events_all_of_them(world: World, state: Here) -> None:
    world.upload("a", labels={"person": "jane"})
    world.upload("b", document_id=IDENTITY_CARD)
    await world.settle()
    said = await asyncio.to_thread(state, "logs", "a")
    assert said.code == 0
    lines = [line.partition("  ")[2] for line in said.out.splitlines()]
    assert len(lines) == len(world.history("a"))
    assert lines[0] == "The agent admitted the request file."
    assert f"Assure created the dossier (HTTP 201). Next: {EFFECTS[EffectKind.CREATE_PROCESS]}." in lines
    assert any(line.startswith("The agent read the process. Outcome: accepted.") for line in lines)
    assert lines[-1].endswith("It is finished, and nothing of it is left at Assure.")
    assert "jane" not in said.out
    both = (await asyncio.to_thread(state, "events")).out.splitlines()
    assert len(both) == len(world.history("a")) + len(world.history("b"))
    assert [line.split("  ", 1)[0] for line in both] == sorted(line.split("  ", 1)[0] for line in both)
    assert [line.split("  ", 2)[::2] for line in both if line.split("  ")[1] == "a"] == [
        line.split("  ", 1) for line in said.out.splitlines()
    ]
    assert any("Held: back-image-required" in line for line in both if line.split("  ")[1] == "b")
    assert (await asyncio.to_thread(state, "events", "a")).out.splitlines() == [
        line for line in both if line.split("  ")[1] == "a"
    ]


async def test_json_is_the_audit_log(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    (audited,) = (await asyncio.to_thread(state, "audit", "log", "a", "-o", "json")).json["items"]
    head = {"name": "a", "uid": audited["uid"]}
    for command in (("logs", "a"), ("events",), ("events", audited["uid"])):
        items = (await asyncio.to_thread(state, *command, "-o", "json")).json["items"]
        assert items == [head | event for event in audited["events"]]


async def test_since_shows_the_last_events(world: World, state: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload("a")
    await world.settle()
    every = (await asyncio.to_thread(state, "events", "-o", "json")).json["items"]
    last = world.clock.now()
    monkeypatch.setattr(SystemClock, "now", lambda _: last)
    items = (await asyncio.to_thread(state, "events", "--since", "1s", "-o", "json")).json["items"]
    assert 0 < len(items) < len(every)
    assert items == every[-len(items) :]
    assert (await asyncio.to_thread(state, "events", "--since", "soon")).code == 2


async def test_a_selection_chooses_requests(world: World, state: Here) -> None:
    world.upload("a", labels={"team": "x"})
    world.upload("b", document_id=IDENTITY_CARD, labels={"team": "x"})
    await world.settle()
    for options, names in (
        (("-l", "team=x"), {"a", "b"}),
        (("--state", "held"), {"b"}),
        (("--outcome", "accepted"), {"a"}),
        (("b", "--outcome", "accepted"), set()),
    ):
        items = (await asyncio.to_thread(state, "events", *options, "-o", "json")).json["items"]
        assert {item["name"] for item in items} == names
    assert (await asyncio.to_thread(state, "events", "--state", "hold")).code == 2


async def test_an_event_has_its_answer_also_if_its_call_was_sent_before_the_first_event(world: World) -> None:
    world.upload("a")
    await world.settle()
    with reader(world.state) as connection:
        every = list(EventReader(connection).read())
        assert len([entry for entry in every if entry.reply is not None]) > 3
        for n, entry in enumerate(every):
            later = EventReader(connection, after=entry.event)
            assert list(later.read()) == every[n + 1 :]
            assert list(later.read()) == []


async def test_the_events_of_many_requests_are_read_together(world: World) -> None:
    """On a server, each query costs a round trip."""
    for name in ("a", "b", "c", "d"):
        world.upload(name)
    await world.settle()
    asked: list[str] = []
    with reader(world.state) as connection:
        middle = len(list(EventReader(connection).read())) // 2
        connection.set_trace_callback(asked.append)
        entries = list(EventReader(connection, after=middle).read())
    assert {entry.name for entry in entries} == {"a", "b", "c", "d"}
    assert len(asked) == 4, asked  # two pages of events, the answers, and the calls before


async def test_an_unknown_request_and_a_missing_store(world: World, state: Here) -> None:
    (await asyncio.to_thread(state, "logs", "a", STATE_URL="sqlite:///none.db")).is_one_clear_error("no state file")
    world.upload("a")
    await world.settle()
    for command in (("logs", "x"), ("events", "a", "x"), ("events", "x", "-f")):
        (await asyncio.to_thread(state, *command)).is_one_clear_error("no request named x")


async def test_logs_follow_a_request_until_it_is_done(world: World, state: Here) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    process = spawn(world.folder, "logs", "a", "-f", **state.env)
    assert "The agent admitted the request file." in await asyncio.to_thread(wait_for, process, "admitted")
    world.upload("a")
    await world.settle()
    said = await asyncio.to_thread(finish, process)
    assert said.code == 0
    assert said.out.splitlines()[-1].endswith("It is finished, and nothing of it is left at Assure.")
    done = await asyncio.to_thread(state, "logs", "a", "-f")
    assert done.out == (await asyncio.to_thread(state, "logs", "a")).out


async def test_events_follow_the_store_until_ctrl_c(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    process = spawn(world.folder, "events", "-f", "-o", "json", **state.env)
    await asyncio.to_thread(wait_for, process, '"TargetMissing"')
    world.upload("b")
    await world.settle()
    line = await asyncio.to_thread(wait_for, process, '"b"')
    assert orjson.loads(line)["type"] == "Admitted"
    said = await asyncio.to_thread(finish, process, signal.SIGINT)
    assert (said.code, said.err) == (0, "")
