"""Listeners: functions that are told of the work and take no part in it. `isolated` keeps what they raise from it.

The code that calls a listener wraps it: the reconciler after a commit, the client after an answer, the writer thread
after a transaction. A listener that raises is a bug; it is logged by its place, since its message may hold anything.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from agent.platform.log import logger

P = ParamSpec("P")


def isolated(listener: Callable[P, object]) -> Callable[P, None]:
    """The same listener, which never raises an Exception and returns None."""

    @functools.wraps(listener)
    def guarded(*arguments: P.args, **keywords: P.kwargs) -> None:
        try:
            listener(*arguments, **keywords)
        except Exception as error:
            logger().error("a listener failed", error=_callback_location(error), hint="report it; the work goes on")

    return guarded


def _callback_location(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{where}"
