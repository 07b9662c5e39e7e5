"""The store alone: durable transitions, bytes on disk, and the verification of the whole audit log."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from agent.core.record import Phase
from agent.core.step import Step
from agent.store.sqlite.store import SqliteStore
from bench.process import child, cpu, median, report
from bench.report import Ratio, Scale, Section
from verification.audits import verified
from verification.builders.lives import Life

_AT_ONCE = (1, 8, 64)
_DIGITS = 24  # of a uid


def measure(scale: Scale) -> Section:
    """Measure each part in its own process, on its own file."""
    lives = 2000 if scale.long else 300
    found = {
        at_once: median([child("bench.store", str(lives), str(at_once)) for _ in range(scale.rounds)])
        for at_once in (*_AT_ONCE, 0)
    }
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        (f"{at_once} at a time, each durable", (found[at_once]["rate"], found[at_once]["cpu"])) for at_once in _AT_ONCE
    ]
    rows.append(("ceiling: all in one transaction", (found[0]["rate"], found[0]["cpu"])))
    rows.append(("audit verify, events/s", (found[0]["verified"], found[0]["verify_cpu"])))
    rows.append(("bytes on disk per settled request", (found[0]["bytes"], None)))
    return Section(
        name="store",
        title=f"Store: the transitions of {lives:,} uploads at synchronous=FULL, medians of {scale.rounds} rounds",
        columns=("transitions/s", "CPU us each"),
        rows=rows,
        ratios=[
            Ratio(name="64 at a time / the ceiling", value=found[64]["rate"] / found[0]["rate"]),
            Ratio(name="64 at a time / one at a time", value=found[64]["rate"] / found[1]["rate"]),
        ],
    )


async def _commit(path: Path, lives: list[list[Step]], at_once: int) -> dict[str, float]:
    steps = sum(map(len, lives))
    store = SqliteStore(path, None)
    began, spent = time.perf_counter(), cpu()
    if at_once:
        turns = iter(lives)

        async def work() -> None:
            for life in turns:
                for step in life:
                    await store.commit([step])

        await asyncio.gather(*(work() for _ in range(at_once)))
    else:
        await store.commit([step for life in lives for step in life])
    seconds, used = time.perf_counter() - began, cpu() - spent
    store.close()
    return {"rate": steps / seconds, "cpu": 1e6 * used / steps, "bytes": path.stat().st_size / len(lives)}


async def _main(count: int, at_once: int) -> dict[str, float]:
    lives = [Life(f"{number:0{_DIGITS}x}").until(Phase.DONE).steps for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "agent.db"
        found = await _commit(path, lives, at_once)
        began, spent = time.perf_counter(), cpu()
        verdict = verified(path)
        assert not verdict.findings
        seconds, used = time.perf_counter() - began, cpu() - spent
    return found | {"verified": verdict.events / seconds, "verify_cpu": 1e6 * used / verdict.events}


if __name__ == "__main__":
    report(**uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]))))
