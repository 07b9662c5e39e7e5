"""Judgements on trouble: how long to wait, what proves absence, which process counts (design §5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import NOW, POLICY, listed

from agent.core.answer import Evidence, Trouble
from agent.core.observation import DossierSearched
from agent.core.recovery import absent, adoptable, backoff, decided, started, surprising
from agent.core.remote import PROVIDER, ListedProcess, Status

PROCESSES = st.lists(
    st.builds(
        listed,
        st.sampled_from(["P1", "P2", "P3"]),
        st.sampled_from(list(Status)),
        created_at=st.sampled_from("123"),
        updated_at=st.sampled_from("123"),
        provider=st.sampled_from([PROVIDER, "another"]),
    ),
    max_size=4,
    unique_by=lambda process: process.process_id,
).map(tuple)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 100))
def test_a_wait_is_never_under_its_floor_nor_over_its_cap(failures: int, chance: float, floor: float) -> None:
    assert floor <= backoff(failures, chance, POLICY, floor) <= max(floor, POLICY.backoff_cap)


def test_waits_double_until_the_cap() -> None:
    waits = [backoff(failures, 1.0, POLICY) for failures in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("status", [500, 502, 503, 301, 404, 400])
def test_server_trouble_and_foreign_pages_are_no_surprise(status: int) -> None:
    assert not surprising(Evidence(status=status))


def test_a_lost_answer_is_no_surprise() -> None:
    assert not surprising(Evidence(trouble=Trouble.TIMEOUT))
    assert not surprising(Evidence(status=200, trouble=Trouble.RESET))


def test_an_answer_that_the_contract_does_not_know_is_a_surprise() -> None:
    assert surprising(Evidence(status=200))


@pytest.mark.parametrize(
    ("dossier_id", "after", "verdict"),
    [("D1", 0, False), ("D1", 100, False), (None, POLICY.lag_grace - 0.1, None), (None, POLICY.lag_grace, True)],
)
def test_absence_is_believed_after_the_grace(dossier_id: str | None, after: float, verdict: bool | None) -> None:
    """[I3]"""
    search = DossierSearched(at=NOW + after, dossier_id=dossier_id, listed=1)
    assert absent(search, NOW, POLICY) is verdict


@given(PROCESSES)
def test_what_is_adopted_is_pending_ours_and_the_oldest(processes: tuple[ListedProcess, ...]) -> None:
    """[I2]"""
    found = adoptable(processes, PROVIDER, "document")
    ours = [one for one in processes if one.status is Status.PENDING and one.provider == PROVIDER]
    assert (found is None) == (not ours)
    assert found is None or found.created_at == min(one.created_at for one in ours)


@given(PROCESSES)
def test_any_process_that_is_not_pending_forbids_a_start(processes: tuple[ListedProcess, ...]) -> None:
    """Also one that is not ours. [I2]"""
    moving = started(processes)
    assert (moving is None) == all(one.status is Status.PENDING for one in processes)
    assert moving is None or moving.status is not Status.PENDING


@given(PROCESSES)
def test_an_accepted_process_decides_a_capture_and_otherwise_the_latest_once_none_is_open(
    processes: tuple[ListedProcess, ...],
) -> None:
    found = decided(processes)
    accepted = [one for one in processes if one.status is Status.ACCEPTED]
    if accepted:
        assert found is not None
        assert found.status is Status.ACCEPTED
    elif not processes or any(not one.status.final for one in processes):
        assert found is None
    else:
        assert found is not None
        assert found.updated_at == max(one.updated_at for one in processes)
