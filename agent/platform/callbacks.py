"""Callbacks that observe the work without taking part in it. `isolated` catches their exceptions.

The caller wraps a callback: the reconciler after a commit, the client after an answer, the writer thread after a
transaction. A callback that raises is a bug. The log contains the location of the error, because its message may
contain personal data.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")


def isolated(callback: Callable[P, object]) -> Callable[P, None]:
    """The same callback, which raises no Exception and returns None."""

    @functools.wraps(callback)
    def guarded(*arguments: P.args, **keywords: P.kwargs) -> None:
        try:
            callback(*arguments, **keywords)
        except Exception as error:
            from agent.platform.log import logger  # imported late: commands that only read the store log nothing

            logger().error("a callback failed", error=_callback_location(error), hint="report it; the agent continues")

    return guarded


def _callback_location(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{where}"
