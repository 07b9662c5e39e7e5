"""A corrected clock: no time of a record is in the future, and scheduled times keep their distance."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.core.machine import step
from agent.core.observations import ClockCorrected
from agent.core.policy import Policy
from agent.core.record import Outcome, Phase, Record
from agent.core.rules.clock_correction import _PAST, clock_corrected
from verification.builders.records import NOW, unadmitted, upload

DAY = 86400.0
POLICY = Policy()
offsets = st.none() | st.floats(-DAY, 2 * DAY).map(lambda seconds: NOW + seconds)
times = st.fixed_dictionaries({name: offsets for name in _PAST if name not in ("admitted_at", "phase_at")})


def record(**fields: object) -> Record:
    return replace(unadmitted(upload()), admitted_at=NOW - DAY, **fields)  # type: ignore[arg-type]


@given(times, st.floats(60.0, 2 * DAY))
def test_a_backward_correction_leaves_no_time_in_the_future_and_is_idempotent(
    given_times: dict[str, float | None], ahead: float
) -> None:
    """[I1]"""
    correction = ClockCorrected(at=NOW, by=-ahead, since=NOW + ahead)
    once = clock_corrected(record(**given_times), correction, POLICY)
    for name in _PAST:
        at, before = getattr(once, name), given_times.get(name)
        assert at is None or at <= NOW
        assert before is None or before > NOW or at == before, "a time that can be is left alone"
    assert clock_corrected(once, correction, POLICY) == once


@given(times, st.floats(60.0, 2 * DAY))
def test_a_forward_correction_moves_later_times_up_to_now(given_times: dict[str, float | None], behind: float) -> None:
    """[I1] A request that was opened while the clock was behind has its whole deadline still."""
    correction = ClockCorrected(at=NOW + behind, by=behind, since=NOW - 5.0)
    once = clock_corrected(record(**given_times), correction, POLICY)
    for name, before in given_times.items():
        after = getattr(once, name)
        assert (after is None) is (before is None)
        if before is not None:
            assert after == (before if before <= NOW - 5.0 else min(before + behind, NOW + behind))


def test_retention_and_pace_keep_their_distance() -> None:
    wrong = NOW + 25 * 3600.0
    was = record(
        phase=Phase.DELETION, dossier_id="D", outcome=Outcome.ACCEPTED, opened_at=NOW - 60.0, outcome_at=wrong,
        delete_at=wrong + 30 * DAY, not_before=wrong + 10.0, phase_at=wrong,
    )  # fmt: skip
    correction = ClockCorrected(at=NOW + 5.0, by=NOW - wrong, since=wrong)
    after = step(was, correction, POLICY).record
    assert (after.outcome_at, after.delete_at) == (NOW, NOW + 30 * DAY)
    assert (after.not_before, after.phase_at, after.opened_at) == (NOW + 10.0, NOW, NOW - 60.0)
    assert after.due_at == NOW + 30 * DAY


def test_a_dossier_given_up_for_another_attempt_is_deleted_at_once() -> None:
    """[I3] Found by `simulate`, seed 4: its deletion waited for the day on which it was asked for."""
    wrong = NOW + 25 * 3600.0
    was = record(phase=Phase.DELETION, dossier_id="D", opened_at=NOW - 60.0, delete_at=wrong, phase_at=wrong)
    after = step(was, ClockCorrected(at=NOW + 5.0, by=NOW - wrong, since=wrong), POLICY, request_effect=False).record
    assert after.delete_at == NOW
    assert after.due_at is not None
    assert after.due_at <= NOW + 5.0


def test_no_deadline_decides_without_a_confirmed_clock() -> None:
    was = record(phase=Phase.PROCESS, dossier_id="D", opened_at=NOW - 2 * DAY)
    correction = ClockCorrected(at=NOW, by=-1.0, since=NOW)
    assert step(was, correction, POLICY, request_effect=False).record.outcome is Outcome.EXPIRED
    assert step(was, correction, replace(POLICY, clock_unconfirmed=True), request_effect=False).record.outcome is None
