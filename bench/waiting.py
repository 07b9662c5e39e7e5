"""Waiting requests cost nothing, and the cost of a finished one is constant. Neither delays a new request."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.command import Running, Workspace, eventually, reference
from bench.report import Ratio, Scale, Section
from bench.simulator_process import SimulatorProcess, simulator_process
from bench.synthetic_store import begin, failing, named, waiting, write_store

_INTERVALS = 6  # the mean is over these
_PACE = 0.1  # seconds between two fresh requests


def measure(scale: Scale) -> Section:
    """Measure backlogs of several sizes, then fresh requests with the largest backlog and without one."""
    sizes = (100, 10_000, 100_000) if scale.long else (100, 1_000, 10_000)
    poll = 5.0 if scale.long else 1.0  # seconds: POLL_INTERVAL
    count = 400 if scale.long else 60
    costs = {size: _backlog(size, poll) for size in sizes}
    bad = sizes[-1] // 20
    alone, crowded = _fresh(0, 0, count), _fresh(sizes[-1], bad, count)
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        *((f"{size:,} wait", (*found, None, None)) for size, found in costs.items()),
        ("fresh requests, nothing else", (None,) * 6 + alone),
        (f"fresh requests, {sizes[-1]:,} wait, {bad:,} fail", (None,) * 6 + crowded),
    ]
    return Section(
        name="waiting",
        title=f"Waiting requests, 1 % finish in each interval of {poll:g} s, means of {_INTERVALS} intervals, "
        f"{count} fresh requests, {1 / _PACE:g}/s",
        columns=(
            "finish",
            "calls/interval",
            "calls, none",
            "CPU ms/interval",
            "CPU ms, none",
            "CPU ms/finished",
            "p50 ms",
            "p99 ms",
        ),
        rows=rows,
        ratios=[*_follows(costs), *_passes(alone, crowded)],
    )


def _follows(costs: dict[int, tuple[float, ...]]) -> Iterator[Ratio]:
    """The cost depends on the finished requests only."""
    (_, middle, largest), (smallest, some, most) = costs.keys(), costs.values()
    each = f"CPU of a finished request, {largest:,} waiting / {middle:,}"
    yield Ratio(name=each, value=most[5] / some[5], aim=1.3, most=True)
    added = max(0.0, most[4] - smallest[4])
    idle = f"CPU of an interval, {largest:,} waiting, extra CPU without finished ones / with 1 %"
    yield Ratio(name=idle, value=added / most[3], aim=0.1, most=True)


def _passes(alone: tuple[float, float], crowded: tuple[float, float]) -> Iterator[Ratio]:
    """A new request does not wait."""
    for name, less, more in zip(("p50", "p99"), alone, crowded, strict=True):
        yield Ratio(name=f"file to start, {name}, backlog / none", value=more / less, aim=1.3, most=True)


def _backlog(size: int, poll: float) -> tuple[float, ...]:
    """Finished requests, calls and CPU per interval, with 1 % finishing and with none."""
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name), {"POLL_INTERVAL": f"{poll:g}s", "SCAN_INTERVAL": "1h"})
        keys = begin(place.store)
        requests = write_store(place.store, [waiting(time.time())], named(keys, (f"waiting-{n}" for n in range(size))))
        with simulator_process(place.folder, requests) as assure, place.running(assure.url) as agent:
            agent.wait_until_idle()
            calls, spent = _intervals(assure, agent, 0, poll)
            share = size // 100
            busy_calls, busy_spent = _intervals(assure, agent, share, poll)
    return share, busy_calls, calls, 1000 * busy_spent, 1000 * spent, 1000 * (busy_spent - spent) / share


def _intervals(assure: SimulatorProcess, agent: Running, finish: int, poll: float) -> tuple[float, float]:
    """Calls and CPU seconds per interval."""
    calls, spent = sum(assure.calls().values()), agent.cpu()
    for _ in range(_INTERVALS):
        assure.send("finish", str(finish))
        time.sleep(poll)
    if finish:
        agent.wait_until_idle()
    return (sum(assure.calls().values()) - calls) / _INTERVALS, (agent.cpu() - spent) / _INTERVALS


def _fresh(size: int, bad: int, count: int) -> tuple[float, float]:
    """The milliseconds from a file to its start, p50 and p99."""
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name), {"SCAN_INTERVAL": "1h"})
        keys = begin(place.store)
        now = time.time()
        waits = write_store(place.store, [waiting(now)], named(keys, (f"waiting-{n}" for n in range(size))))
        lives = [failing(now + turn) for turn in range(0, 60, 3)]  # the agent retries each within a minute
        fails = write_store(place.store, lives, named(keys, (f"failing-{n}" for n in range(bad))))
        with simulator_process(place.folder, waits, fails, delay=600.0) as assure, place.running(assure.url) as agent:
            agent.output('"event": "started"')
            time.sleep(20.0 if bad else 3.0)  # until the agent has retried the due deletions
            dropped, turn = {}, time.monotonic()
            for number in range(count):
                one = f"fresh-{number}"
                dropped[reference(keys, one)] = place.drop(one)
                turn += _PACE
                time.sleep(max(0.0, turn - time.monotonic()))
            started: dict[str, float] = {}

            def all_started() -> bool | None:
                started.update(assure.send("times")["started"])
                return dropped.keys() <= started.keys() or None

            eventually(all_started)
    took = sorted(1000 * (started[reference] - at) for reference, at in dropped.items())
    return statistics.median(took), took[int(0.99 * len(took))]
