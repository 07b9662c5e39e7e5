"""A process that sends one call before a deadline, and stops itself by SIGSTOP on the way.

`python -m tests.assure.http.sender URL SECONDS BYTES TIMER WHEN`. The deadline is so many seconds after the check. WHEN
is `before` the first byte, or `after` the first bytes. The process prints the status of the reply or the error.
"""

import asyncio
import os
import signal
import sys
from functools import cache
from typing import Any

from agent.assure.http.connection import Connection
from agent.assure.http.messages import ExchangeError, Origin, header_lines
from agent.assure.http.pool import Pool
from agent.assure.http.send_deadline import SendDeadline
from agent.platform.clock import boot_clock
from agent.platform.kernel_timer import KernelTimer


def stop_in_begin(when: str) -> None:
    """The process that started this one continues it."""
    begin = Connection.begin

    def stopped(*request: Any) -> asyncio.Future[Any]:
        if when == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        answer = begin(*request)
        if when == "after":
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    Connection.begin = stopped  # type: ignore[method-assign]


async def main(url: str, seconds: str, size: str, timer: str) -> str:
    @cache
    def until() -> float:
        return boot_clock()() + float(seconds)

    deadline = SendDeadline(until, KernelTimer.create() if timer == "with-timer" else None)
    pool = Pool(connections=1, deadline=lambda method, target: deadline)
    origin = Origin.of(url)
    try:
        reply = await pool.send(origin, "POST", "/start", header_lines(origin, {}), b"x" * int(size), 1000)
    except ExchangeError as error:
        return f"{type(error).__name__} {error.cause}"
    finally:
        await pool.aclose()
        deadline.close()
    return str(reply.status)


if __name__ == "__main__":
    stop_in_begin(sys.argv.pop())
    print(asyncio.run(main(*sys.argv[1:])))
