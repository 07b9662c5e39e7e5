"""Rules for failed calls: waits, proof of absence, the deciding process (design §5)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from story import NOW, POLICY, listed

from agent.core.answer import Evidence, Trouble
from agent.core.assure_types import MAX_LISTED, PROVIDER, ListedDossier, ListedProcess, Listing, Status
from agent.core.lost_answers import Absence, absence, adoptable_process, deciding_process, next_search, started_process
from agent.core.observations import DossierSearched
from agent.core.policy import Policy
from agent.core.retry import backoff, is_unexpected, start_spacing


def test_time_before_a_restart_proves_no_absence() -> None:
    """[I3] The clock may have been set before this life began: from then on the call has time to act, and to show."""
    early, late = NOW + 1.0, NOW + POLICY.absence_grace
    again = replace(POLICY, started_at=NOW)
    for at, verdict in ((early, Absence.OPEN), (late, Absence.PROVEN)):
        search = DossierSearched(at=at, dossier_id=None, complete=True)
        assert absence(search, NOW - 1000.0, again) is verdict
    assert next_search(NOW, NOW - 1000.0, again) == NOW + POLICY.list_lag


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
def test_a_wait_is_between_its_minimum_and_its_maximum(failures: int, chance: float, floor: float) -> None:
    assert floor <= backoff(failures, chance, POLICY, floor) <= max(floor, POLICY.backoff_cap)


def test_waits_grow_slowly_at_first_and_then_double() -> None:
    """With failures of a quarter of the calls, the last requests once waited for their own backoff."""
    waits = [backoff(failures, 1.0, POLICY) for failures in range(1, 13)]
    assert [round(wait, 2) for wait in waits] == [0.75, 1.12, 1.69, 2.53, 3.8, 7.59, 15.19, 30.38, 60, 60, 60, 60]


@pytest.mark.parametrize("status", [500, 502, 503, 301, 404, 400])
def test_server_errors_and_proxy_pages_are_not_unexpected_answers(status: int) -> None:
    assert not is_unexpected(Evidence(status=status))


def test_a_lost_answer_is_not_an_unexpected_answer() -> None:
    assert not is_unexpected(Evidence(trouble=Trouble.TIMEOUT))
    assert not is_unexpected(Evidence(status=200, trouble=Trouble.RESET))


def test_an_undocumented_success_is_an_unexpected_answer() -> None:
    assert is_unexpected(Evidence(status=200))


LIMIT, GRACE, PROOF = MAX_LISTED, POLICY.list_lag, POLICY.absence_grace


@pytest.mark.parametrize(
    ("listed", "after", "verdict"),
    [
        (0, 0, Absence.OPEN),
        (LIMIT - 1, GRACE, Absence.OPEN),  # the call may act until its own timeout
        (LIMIT - 1, PROOF - 0.1, Absence.OPEN),
        (LIMIT - 1, PROOF, Absence.PROVEN),
        (0, PROOF, Absence.PROVEN),
        (LIMIT, GRACE - 0.1, Absence.OPEN),
        (LIMIT, GRACE, Absence.UNPROVABLE),  # a longer wait would not help
        (LIMIT + 1, 30 * 86400, Absence.UNPROVABLE),
    ],
)
def test_a_complete_list_proves_absence_after_the_delay_and_a_full_list_never(
    listed: int, after: float, verdict: Absence
) -> None:
    """[I3]"""
    listing = Listing(ListedDossier(dossier_id=f"D{number}", reference=None) for number in range(listed))
    search = DossierSearched(at=NOW + after, dossier_id=None, complete=listing.complete)
    assert absence(search, NOW, POLICY) is verdict


_FASTEST = 2  # the agent's clock, after the machine's clock was set forward


@given(st.floats(0, 300), st.floats(0, 300), st.integers(0, 10_000))
def test_absence_is_never_proven_while_the_call_may_still_act(timeout: float, lag: float, repeats: int) -> None:
    """[I2] [I3] Neither that a dossier was not created nor that a verification was not started."""
    policy = Policy(request_timeout=timeout, list_lag=lag)
    assert policy.absence_grace / _FASTEST >= timeout + lag
    assert start_spacing(repeats, policy) / _FASTEST >= timeout + lag
    assert start_spacing(repeats, policy) >= 2 * timeout, "as promised (design §5)"


def test_searches_follow_the_delay_in_growing_intervals_until_the_proof() -> None:
    searches, at = [], NOW
    while at < NOW + PROOF:
        at = next_search(at, NOW, POLICY)
        searches.append(at - NOW)
    assert searches == [5, 10, 20, 40, 70]


@given(PROCESSES)
def test_the_oldest_matching_pending_process_is_adopted(processes: tuple[ListedProcess, ...]) -> None:
    """[I2]"""
    found = adoptable_process(processes, PROVIDER, "document")
    ours = [one for one in processes if one.status is Status.PENDING and one.provider == PROVIDER]
    assert (found is None) == (not ours)
    assert found is None or found.created_at == min(one.created_at for one in ours)


@given(PROCESSES)
def test_any_process_that_is_not_pending_forbids_a_start(processes: tuple[ListedProcess, ...]) -> None:
    """A process of another client as well. [I2]"""
    moving = started_process(processes)
    assert (moving is None) == all(one.status is Status.PENDING for one in processes)
    assert moving is None or moving.status is not Status.PENDING


@given(PROCESSES)
def test_an_accepted_process_decides_a_capture_and_otherwise_the_latest_once_none_is_open(
    processes: tuple[ListedProcess, ...],
) -> None:
    found = deciding_process(processes)
    accepted = [one for one in processes if one.status is Status.ACCEPTED]
    if accepted:
        assert found is not None
        assert found.status is Status.ACCEPTED
    elif not processes or any(not one.status.final for one in processes):
        assert found is None
    else:
        assert found is not None
        assert found.updated_at == max(one.updated_at for one in processes)
