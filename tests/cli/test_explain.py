"""`explain`: sentences about the state of a request, and the commands that resolve a hold."""

import asyncio
from dataclasses import replace

import pytest

from agent.core.assure_types import CaptureOptions, ProcessType
from agent.core.effect import EffectKind
from agent.core.machine import admit
from agent.core.next_effect import next_due_at
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldReason, Intent, Outcome, Phase, Record
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.views.explain import next_step
from agent.views.explain_json import FOLLOWING, explanation_json
from agent.views.holds import HOLDS, hold_answers
from agent.views.phrases import EFFECTS, PHASES
from agent.views.plan import Action
from tests.cli.command_runner import Here
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD

__all__ = ["begin", "world"]

POLICY = Policy()


def record(**more: object) -> Record:
    desired = Desired(
        digest="d",
        essence="e",
        process_type=ProcessType.DOCUMENT,
        capture=CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/done"),
        labels=(("person", "jane"),),
        file="jane.yaml",
    )
    made = Record(uid="u", name="a", source="default", agent="tests", desired=desired)
    made = replace(admit(made, 0.0, POLICY).record, **more)  # type: ignore[arg-type]
    return replace(made, due_at=next_due_at(made, 0.0, POLICY))


async def test_assures_error_words_are_shown_by_every_command(world: World, here: Here) -> None:
    world.upload("a", document_id=4)
    await world.settle()
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    words = "base:client-problem; Bad Request"
    evidence = f"create_process 400 {words}"
    explained = here("explain", "a").out
    assert f"create a process: refused (HTTP 400, error-body, {words})" in explained
    assert f"Evidence: {evidence}." in explained
    (hold,) = [item["hold"] for item in here("explain", "a", "-o", "json").json["items"]]
    assert hold["evidence"] == evidence
    assert f"a: Assure refused a call ({evidence})" in here("get").out
    (item,) = here("get", "a", "-o", "json").json["items"]
    assert item["holdEvidence"] == evidence
    log = here("audit", "log", "a").out
    assert "refused 400 trace" in log
    assert f"({words})" in log
    assert f"refused-by-assure {evidence}" in log


def test_every_phase_effect_action_and_hold_has_its_sentence() -> None:
    assert set(PHASES) == set(Phase)
    assert set(EFFECTS) == set(EffectKind)
    assert set(FOLLOWING) == set(Action)
    assert set(HOLDS) == set(HoldReason)


async def test_a_finished_request(world: World, here: Here) -> None:
    world.upload("a", labels={"person": "jane"})
    await world.settle()
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    said = await asyncio.to_thread(here, "explain", "a")
    assert said.code == 0
    assert "a is a request of kind upload, generation 1, attempt 1, admitted at 2027-01-15T08:00:00.000Z" in said.out
    assert "Its outcome has been accepted" in said.out
    assert "start the verification (billable): done (HTTP 200)" in said.out
    assert "Next step: None. The request is finished." in said.out
    assert "If you changed its file now: it would be held for the operator's decision" in said.out
    assert "jane" not in said.out


async def test_a_hold_is_explained_with_the_commands_that_resolve_it(world: World, here: Here) -> None:
    world.upload("a", document_id=IDENTITY_CARD)
    await world.settle()
    hold = world.record("a").hold
    assert hold is not None
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    said = await asyncio.to_thread(here, "explain", "a")
    for line in ("  assure-agent resolve a retry", "  assure-agent resolve a abandon"):
        assert line in said.out.splitlines()
    assert f'  assure-agent/resolve: "retry@{hold.id}"' in said.out.splitlines()
    assert "it ends as expired and its dossier is deleted, even while it is held" in said.out
    (item,) = (await asyncio.to_thread(here, "explain", "a", "-o", "json")).json["items"]
    assert item["hold"]["id"] == hold.id
    assert item["hold"]["reason"] == "back-image-required"
    assert item["ifChanged"]["action"] == "rerun"
    assert item["ifRemoved"]["action"] == "withdraw"
    assert [attempt["effect"] for attempt in item["attempts"]] == ["create_dossier", "create_process"]


async def test_an_outcome_that_remains_after_an_abandoned_change_is_reported(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=IDENTITY_CARD, back=True)
    await world.settle()
    here.env |= {"STATE_URL": f"sqlite:///{world.state}", "SPECS_DIR": str(world.specs)}
    said = await asyncio.to_thread(here, "resolve", "a", "abandon")
    assert said.out.endswith("; the outcome accepted is kept\n")
    reported = (await asyncio.to_thread(here, "explain", "a")).out
    assert "and the earlier outcome is kept" in reported
    assert "To verify the file as it is now, run `assure-agent rerun a`" in reported


async def test_explain_prints_no_capture_link(world: World, here: Here) -> None:
    """[I6]"""
    world.capture("a", capture={"uiProfile": "sandbox-outcome-abandoned"})
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    async with world.running():
        link = world.link("a")
        assert link is not None
        for more in ((), ("-o", "json")):
            said = await asyncio.to_thread(here, "explain", "a", *more)
            assert said.code == 0
            assert link not in said.out


def test_an_unknown_name_is_an_error(here: Here) -> None:
    here("explain", "nobody").is_one_clear_error("nobody", "get")


RESULT = {"phase": Phase.RESULT, "dossier_id": "d", "billed": True, "opened_at": 0.0}
QUESTION = Hold(id="h-1", reason=HoldReason.CHANGED_AFTER_START, at=0.0)
REFUSED = Hold(id="h-2", reason=HoldReason.REFUSED, at=0.0)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "a free slot, the agent will create a dossier."),
        (
            {"intent": Intent(kind=EffectKind.CREATE_DOSSIER, number=1, at=0.0)},
            "The agent has waited for the answer to a call",
        ),
        ({"hold": REFUSED}, "The agent waits for the operator's decision."),
        ({**RESULT, "not_before": 90.0}, "the agent will read the dossier. Without a result by 1970-01-02"),
        ({**RESULT, "not_before": 90.0, "hold": QUESTION}, "the agent will read the dossier."),
        ({**RESULT, "hold": REFUSED}, "it ends as expired and its dossier is deleted, even while it is held"),
        ({"phase": Phase.DELETION, "dossier_id": "d", "delete_at": 60.0}, "the agent will delete the dossier."),
    ],
    ids=["new", "call open", "held", "waiting", "held about its file", "held and billed", "deletion"],
)
def test_next_step(state: dict[str, object], words: str) -> None:
    assert words in next_step(record(**state), 10.0, POLICY).sentence


def test_a_suspended_request_waits_for_its_file() -> None:
    base = record()
    suspended = replace(base, desired=replace(base.desired, suspend=True), due_at=None)
    assert next_step(suspended, 10.0, POLICY).sentence.startswith("The request is suspended. Remove `suspend: true`")


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_can_be_explained(phase: Phase) -> None:
    known = {"dossier_id": "d", "process_id": "p", "opened_at": 0.0} if phase is not Phase.DOSSIER else {}
    done = {"outcome": Outcome.EXPIRED, "outcome_at": 1.0} if phase is Phase.DONE else {}
    for hold in (None, QUESTION, REFUSED):
        for now in (10.0, 10**6):
            made = record(phase=phase, hold=hold, **known, **done)
            reported = explanation_json(made, [], now, POLICY)
            assert reported["next"]["sentence"].endswith(".")
            assert "jane" not in str(reported)


async def test_a_store_that_changes_during_the_command_is_not_an_older_copy(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    named = ReadOnlyStore.find

    def later(self: ReadOnlyStore, name: str) -> list[Record]:
        found, mark = named(self, name), world.state.with_suffix(".mark")
        identity, events = mark.read_text().split()
        mark.write_text(f"{identity} {int(events) + 1:020d}\n")
        return found

    monkeypatch.setattr(ReadOnlyStore, "find", later)
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    said = await asyncio.to_thread(here, "explain", "a")
    assert said.code == 0
    assert "older copy" not in said.out


@pytest.mark.parametrize(("phase", "adopts"), [(Phase.DOSSIER, True), (Phase.RESULT, False)])
def test_adopt_is_offered_only_if_the_agent_would_accept_it(phase: Phase, adopts: bool) -> None:
    hold = Hold(id="h", reason=HoldReason.HISTORY_LOST, at=0.0)
    commands, _ = hold_answers(replace(record(), phase=phase, hold=hold), hold)
    assert ("assure-agent resolve a adopt DOSSIER_ID" in commands) is adopts
