"""`python -m verification explore|crash|simulate|chaos|fuzz [--seed N] [--long]`; the make targets call it."""

import argparse
import os
import sys
from collections.abc import Callable

from verification.mutations import MUTATIONS
from verification.report import Report

_DEFAULT_SEED = 1


def _explore(given: argparse.Namespace) -> Report:
    from verification.explore import explore

    return explore(adversities=given.adversities or (2 if given.long else 1), mutation=given.mutate)


def _crash(given: argparse.Namespace) -> Report:
    from verification.crash import crash

    return crash(given.seed, long=given.long, jobs=given.jobs, mutation=given.mutate, machines=given.replicas)


def _simulate(given: argparse.Namespace) -> Report:
    from verification.simulate import simulate

    lives = given.count or (500 if given.long else 6)
    return simulate(
        given.seed,
        lives=lives,
        jobs=given.jobs,
        mutation=given.mutate,
        requests=given.requests,
        machines=given.replicas,
    )


def _chaos(given: argparse.Namespace) -> Report:
    from verification.chaos import chaos
    from verification.chaos_replicas import chaos_replicas

    if given.replicas > 1:
        misfortunes = given.count or (60 if given.long else 7)
        requests = given.requests or (2000 if given.long else 60)
        return chaos_replicas(
            given.seed, replicas=given.replicas, misfortunes=misfortunes, requests=requests, mutation=given.mutate
        )
    kills = given.count or (60 if given.long else 4)
    postgres = given.store == "postgres"
    return chaos(given.seed, kills=kills, requests=given.requests, mutation=given.mutate, postgres=postgres)


def _fuzz(given: argparse.Namespace) -> Report:
    from verification.fuzz import fuzz

    count = given.count or (200_000 if given.long else 12_000)
    return fuzz(given.seed, count=count, jobs=given.jobs, mutation=given.mutate)


PROOFS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "explore": _explore,
    "crash": _crash,
    "simulate": _simulate,
    "chaos": _chaos,
    "fuzz": _fuzz,
}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m verification", description="See docs/verification.md.")
    parser.add_argument("proof", choices=list(PROOFS))
    parser.add_argument("--seed", type=int, default=_DEFAULT_SEED, help="the first seed, which determines the run")
    parser.add_argument("--long", action="store_true", help="the long form: minutes to an hour")
    parser.add_argument("--count", type=int, help="the number of lives, kills or inputs")
    parser.add_argument("--requests", type=int, help="the number of requests in each life")
    parser.add_argument("--adversities", type=int, help="the number of adversities in each history")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="the engine for `chaos`")
    parser.add_argument("--replicas", type=int, default=1, help="the number of replicas on one database")
    parser.add_argument("--jobs", type=int, default=1, help="the number of parallel processes")
    parser.add_argument("--mutate", choices=list(MUTATIONS), help="break the agent first, which the proof must detect")
    return parser


def main() -> int:
    """Run one proof and print its report. Return 1 when it found a violation."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of strings must be the same in each run
        os.execve(
            sys.executable, [sys.executable, "-m", "verification", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    given = _arguments().parse_args()
    report = PROOFS[given.proof](given)
    print(report)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
