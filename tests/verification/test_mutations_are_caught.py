"""The proofs are sensitive: each detects the broken agents that it must detect."""

import pytest

from verification.crash import crash
from verification.explore import explore
from verification.fuzz import fuzz
from verification.life_plan import draw_plan
from verification.mutations import MUTATIONS, mutated
from verification.shrink import shrink
from verification.simulate import run_life

SCENARIOS = ("an answer lost, the list full", "answers lost", "calls late")  # each has what the mutations get wrong


def noticing(proof: str) -> list[str]:
    return [name for name, (_, _, proofs) in MUTATIONS.items() if proof in proofs]


TWICE = ("orphans-are-forgotten",)  # out of sight: its creation was not answered, *and* the list is full

# The others take longer to be noticed there, some of them minutes: `make crash MUTATE=...`, `make simulate MUTATE=...`.
QUICK = (
    "effect-before-intent",
    "create-again-after-unknown",
    "orphans-are-forgotten",
    "no-orphan-collection",
    "history-with-a-hole",
    "torn-commit",
    "broken-counts-as-unsent",
    "silence-counts-as-unsent",
)


def test_two_proofs_must_detect_every_mutation() -> None:
    assert all(len(proofs) >= 2 for _, _, proofs in MUTATIONS.values())


@pytest.mark.parametrize("mutation", noticing("explore"))
def test_the_exploration_detects_a_mutation(mutation: str) -> None:
    report = explore(adversities=2 if mutation in TWICE else 1, mutation=mutation)
    _, broken_promise, _ = MUTATIONS[mutation]
    assert any(broken_promise in wrong for wrong in report.wrong), "it is the promise that is broken, not the stage"


@pytest.mark.parametrize("mutation", QUICK)
def test_the_kills_at_boundaries_detect_a_mutation(mutation: str) -> None:
    report = crash(1, only=SCENARIOS, mutation=mutation)
    _, broken_promise, _ = MUTATIONS[mutation]
    assert any(broken_promise in wrong for wrong in report.wrong)


def test_the_replies_of_a_server_detect_a_mutation() -> None:
    report = fuzz(1, count=20, replies=200, mutation="sent-again")
    _, broken_promise, _ = MUTATIONS["sent-again"]
    assert any(broken_promise in wrong for wrong in report.wrong)


def test_simulated_lives_detect_a_mutation() -> None:
    with mutated("create-again-after-unknown"):
        noticed = next(seed for seed in range(1, 10) if run_life(draw_plan(seed, 20)).wrong)
    assert not run_life(draw_plan(noticed, 20)).wrong  # it is the mutation that was noticed, and not the stage


def test_a_failing_life_is_reduced() -> None:
    with mutated("history-with-a-hole"):
        plan = shrink(draw_plan(1, 6), lambda plan: bool(run_life(plan).wrong))
        assert run_life(plan).wrong
    assert len(plan.requests) == 1
    assert plan.rules == plan.kills == plan.outages == ()
