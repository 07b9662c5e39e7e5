"""The costs of one request: calls to Assure and commits. Counts are the same on every machine.

A change that lowers a cost changes a number here. A change that raises a cost needs a reason.
"""

from collections import Counter
from collections.abc import Sequence

import pytest

from agent.core.record import Outcome
from agent.core.step import Step
from agent.ports import Receipt
from agent.store.sqlite.store import SqliteStore
from tests.support.environment import World

UPLOAD = {
    "createDossier": 1,
    "createProcess": 1,
    "setImages": 1,
    "getProcess": 1,  # for the result
    "startVerification": 1,
    "deleteDossier": 1,
    "getDossier": 1,  # that it is gone
}
CAPTURE = {
    "createDossier": 1,
    "createArtifact": 1,
    "getDossier": 2,  # which process decides; that it is gone
    "getProcess": 1,
    "deleteDossier": 1,
}
COMMITS = {"upload": 8, "capture": 7}


class Commits:
    """How many commits of the reconciler there were, and how many steps they made durable."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = self.steps = 0
        plain = SqliteStore.commit

        async def counted(store: SqliteStore, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
            self.calls += 1
            self.steps += len(steps)
            await plain(store, steps, receipt)

        patch.setattr(SqliteStore, "commit", counted)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    return Commits(monkeypatch)


def calls(world: World) -> Counter[str]:
    """The calls about requests: without the token, and the lists that serve all."""
    shared = ("token", "getAllProcess")
    return Counter({name: count for name, count in world.ledger.calls.items() if name not in shared})


@pytest.mark.parametrize(("mode", "expected"), [("upload", UPLOAD), ("capture", CAPTURE)])
async def test_the_calls_and_the_commits_of_one_request(
    world: World, commits: Commits, mode: str, expected: dict[str, int]
) -> None:
    """[I4] Each call that changes something is intended before, and each answer is kept: not one commit more."""
    getattr(world, mode)("a")
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert calls(world) == expected
    assert (commits.calls, commits.steps) == (COMMITS[mode],) * 2


async def test_many_requests_cost_as_many_times_the_calls_and_share_the_commit_of_their_admission(
    world: World, commits: Commits
) -> None:
    """[I9]"""
    many = 25
    for number in range(many):
        world.upload(f"a-{number}")
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert calls(world) == {name: many * count for name, count in UPLOAD.items()}
    assert commits.steps == many * COMMITS["upload"]
    assert commits.calls <= many * (COMMITS["upload"] - 1) + 1


async def test_a_request_that_is_done_costs_nothing_more(world: World, commits: Commits) -> None:
    """No call and no commit, however long the agent goes on."""
    for number in range(5):
        world.upload(f"a-{number}")
    await world.settle()
    async with world.running():
        before, commits.calls = world.ledger.calls.copy(), 0
        await world.clock.advance(7_200)
    assert set(world.ledger.calls - before) <= {"token"}
    assert commits.calls == 0
