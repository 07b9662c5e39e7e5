"""The proofs bite: an agent that is broken on purpose is noticed by each proof that has to notice it."""

import pytest

from verification.crash import crash
from verification.explore import explore
from verification.life_plan import drawn
from verification.mutations import MUTATIONS, broken
from verification.shrink import shrunk
from verification.simulate import lived

SCENARIOS = ("an answer lost, the list full", "answers lost", "calls late")  # each has what the mutations get wrong


def noticing(proof: str) -> list[str]:
    return [name for name, (_, _, proofs) in MUTATIONS.items() if proof in proofs]


TWICE = ("orphans-are-forgotten",)  # out of sight: its creation was not answered, *and* the list is full

# The others take longer to be noticed there, some of them minutes: `make crash MUTATE=...`, `make simulate MUTATE=...`.
QUICK = (
    "effect-before-intent",
    "create-again-after-unknown",
    "orphans-are-forgotten",
    "nobody-sweeps",
    "history-with-a-hole",
    "torn-commit",
)


def test_every_mutation_is_to_be_noticed_by_two_proofs() -> None:
    assert all(len(proofs) >= 2 for _, _, proofs in MUTATIONS.values())


@pytest.mark.parametrize("mutation", noticing("explore"))
def test_the_exploration_notices(mutation: str) -> None:
    report = explore(adversities=2 if mutation in TWICE else 1, mutation=mutation)
    _, broken_promise, _ = MUTATIONS[mutation]
    assert any(broken_promise in wrong for wrong in report.wrong), "it is the promise that is broken, not the stage"


@pytest.mark.parametrize("mutation", QUICK)
def test_the_kills_at_boundaries_notice(mutation: str) -> None:
    report = crash(1, only=SCENARIOS, mutation=mutation)
    _, broken_promise, _ = MUTATIONS[mutation]
    assert any(broken_promise in wrong for wrong in report.wrong)


def test_simulated_lives_notice() -> None:
    with broken("create-again-after-unknown"):
        noticed = next(seed for seed in range(1, 10) if lived(drawn(seed, 20)).wrong)
    assert not lived(drawn(noticed, 20)).wrong  # it is the mutation that was noticed, and not the stage


def test_a_life_that_fails_is_made_smaller() -> None:
    with broken("history-with-a-hole"):
        plan = shrunk(drawn(1, 6), lambda plan: bool(lived(plan).wrong))
        assert lived(plan).wrong
    assert len(plan.requests) == 1
    assert plan.rules == plan.kills == plan.outages == ()
