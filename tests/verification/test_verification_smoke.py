"""The short form of every proof holds, and repeats from its seed [I1] [I2] [I3] [I4] [I5] [I6]."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verification.chaos import chaos
from verification.chaos_replicas import chaos_replicas
from verification.crash import crash, run_life
from verification.explore import explore
from verification.fuzz import fuzz
from verification.life_plan import draw_plan
from verification.postgres_server import PostgresUnavailable, binaries
from verification.replicas.plan import draw_replicas
from verification.simulate import run_life as life
from verification.simulate import simulate
from verification.throughput_under_faults import run_with_faults

SCENARIOS = ("upload, accepted", "answers lost", "changed before the start")  # of the last one, some boundaries only


def test_every_history_with_one_adversity_keeps_the_invariants() -> None:
    report = explore(adversities=1)
    assert not report.wrong, report


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_agent_killed_at_any_boundary_reaches_the_same_end(scenario: str) -> None:
    report = crash(1, only=[scenario])
    assert not report.wrong, report


def test_simulated_lives_keep_the_invariants() -> None:
    report = simulate(1, lives=4, requests=40)
    assert not report.wrong, report


def test_simulated_replicas_keep_the_invariants() -> None:
    """[I2] [I3] Several agents on a model of the database, which also loses transactions by a failover."""
    report = simulate(1, lives=3, requests=20, machines=3)
    assert not report.wrong, report
    assert {"killed", "stops", "failovers"} <= {name for name, _ in report.rows}


def test_a_replica_killed_at_any_boundary_is_continued_by_another_one() -> None:
    report = crash(1, only=["changed before the start"], machines=2)
    assert not report.wrong, report


def test_the_killed_command_keeps_the_invariants() -> None:
    report = chaos(1, kills=2, in_trouble=0)
    assert not report.wrong, report


def test_the_killed_command_keeps_the_invariants_on_a_database_that_crashes() -> None:
    try:
        binaries()
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))
    report = chaos(1, kills=2, in_trouble=0, postgres=True)
    assert not report.wrong, report
    assert ("crashes of the database", "1") in report.rows


def test_replicas_that_are_killed_and_stopped_keep_the_invariants() -> None:
    """[I2] [I3] Also where the sandbox accepts a second start."""
    try:
        binaries()
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))
    report = chaos_replicas(1, replicas=3, misfortunes=4, requests=20, patient=True)
    assert not report.wrong, report


def test_every_invalid_input_gets_a_clear_error() -> None:
    report = fuzz(1, count=6000, replies=1500)
    assert not report.wrong, report


def test_a_life_repeats_from_its_seed() -> None:
    first, second = (life(draw_plan(5, 15)) for _ in range(2))
    assert first.counts == second.counts
    assert run_life("answers lost", 3, (20,)) == run_life("answers lost", 3, (20,))
    plan, replicas = draw_plan(6, 10), draw_replicas(6, 3, 300.0)
    assert life(plan, replicas).counts == life(plan, replicas).counts


@pytest.mark.parametrize("seed", [2, 13])
def test_faults_on_a_quarter_of_the_calls_lose_double_and_delay_no_request(seed: int) -> None:
    """[I1] [I2] [I3] A limit in virtual seconds. It fails if one failure counts once for each waiting call."""
    reported = run_with_faults(seed, requests=60)
    assert (reported.done, reported.doubled, reported.left, reported.wrong) == (60, 0, 0, [])
    assert reported.seconds <= 120


def test_the_module_starts_without_a_fixed_hash_seed() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    command = [sys.executable, "-m", "verification", "explore", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
