"""The seven calls without saving anything. `python -m bench.peer_plain COUNT URL - FOLDER`, as the other peers."""

import sys
import time
from pathlib import Path

import uvloop

from bench.plain_calls import plain_calls, plain_lifecycle, run_all
from bench.process import cpu, report


async def _main(count: int, url: str, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    async with plain_calls(url) as calls:

        async def lifecycle(number: int) -> None:
            await plain_lifecycle(calls, f"plain-{number}", (folder / f"{number}.jpg").read_bytes())

        await run_all(count, lifecycle)
    return {"seconds": time.perf_counter() - began, "cpu": cpu()}


if __name__ == "__main__":
    report(**uvloop.run(_main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[4]))))
