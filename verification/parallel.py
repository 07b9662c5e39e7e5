"""Many runs on several cores, with results in the order of the arguments."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def run_parallel(run: Callable[[A], B], over: Sequence[A], jobs: int) -> Iterator[B]:
    """Call `run` for each argument in `jobs` processes. With 1 job it runs in this process."""
    if jobs <= 1 or len(over) <= 1:
        yield from map(run, over)
        return
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=os.nice, initargs=(5,)) as pool:
        yield from pool.map(run, over)
