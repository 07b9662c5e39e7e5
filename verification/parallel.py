"""Many runs on several cores, in the order in which they were asked for."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def each(run: Callable[[A], B], over: Sequence[A], jobs: int) -> Iterator[B]:
    """`run` of each, by `jobs` processes at once; 1: in this one."""
    if jobs <= 1 or len(over) <= 1:
        yield from map(run, over)
        return
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=os.nice, initargs=(5,)) as pool:
        yield from pool.map(run, over, chunksize=max(1, min(8, len(over) // (4 * jobs))))
