"""What waits costs nothing; what finishes costs what it costs. And who comes new does not wait behind either."""

import statistics
import tempfile
import time
from pathlib import Path

from bench.command import Place, Running, eventually, reference
from bench.grown import begin, deleting, grow, named, waiting
from bench.peer import Peer, peer
from bench.report import Ratio, Scale, Section

_PACE = 0.1  # seconds between two fresh requests


def measure(scale: Scale) -> Section:
    """Backlogs of several sizes, then fresh requests beside the largest and beside none."""
    sizes = (100, 10_000, 100_000) if scale.long else (100, 1_000, 10_000)
    poll = 5.0 if scale.long else 1.0  # seconds: POLL_INTERVAL
    intervals = 6
    costs = {size: _backlog(size, poll, intervals) for size in sizes}
    fresh = 400 if scale.long else 60
    failing = sizes[-1] // 20
    alone, crowded = _fresh(0, 0, fresh), _fresh(sizes[-1], failing, fresh)
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        (f"{size:,} wait", (*found, None, None)) for size, found in costs.items()
    ]
    rows.append(("fresh requests, nothing else", (None,) * 6 + alone))
    rows.append((f"fresh requests, {sizes[-1]:,} wait, {failing:,} fail", (None,) * 6 + crowded))
    smallest, middle, largest = costs.values()
    return Section(
        name="waiting",
        title=f"Waiting: 1 % finish in each interval of {poll:g} s, means of {intervals} intervals; "
        f"{fresh} fresh requests, {1 / _PACE:g}/s",
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
        ratios=[
            Ratio(
                name=f"CPU of one that finishes: {sizes[2]:,} waiting / {sizes[1]:,}",
                value=largest[5] / middle[5],
                aim=1.3,
                most=True,
            ),
            Ratio(
                name=f"CPU of an interval, {sizes[2]:,} waiting: what they add while nothing finishes / with 1 %",
                value=max(0.0, largest[4] - smallest[4]) / largest[3],
                aim=0.1,
                most=True,
            ),
            Ratio(name="file to start, p50: backlog / none", value=crowded[0] / alone[0], aim=1.3, most=True),
            Ratio(name="file to start, p99: backlog / none", value=crowded[1] / alone[1], aim=1.3, most=True),
        ],
    )


def _backlog(size: int, poll: float, intervals: int) -> tuple[float, ...]:
    """Finished, calls and CPU per interval, with 1 % finishing and with none."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), {"POLL_INTERVAL": f"{poll:g}s", "SCAN_INTERVAL": "1h"})
        keys = begin(place.store)
        requests = grow(place.store, [waiting(time.time())], named(keys, (f"waiting-{n}" for n in range(size))))
        with peer(place.folder, requests) as assure, place.running(assure.url) as agent:
            agent.rests()
            calls, spent = _intervals(assure, agent, 0, poll, intervals)
            share = size // 100
            busy_calls, busy_spent = _intervals(assure, agent, share, poll, intervals)
    return share, busy_calls, calls, 1000 * busy_spent, 1000 * spent, 1000 * (busy_spent - spent) / share


def _intervals(assure: Peer, agent: Running, finish: int, poll: float, intervals: int) -> tuple[float, float]:
    """Calls and seconds of CPU per interval."""
    calls, spent = sum(assure.calls().values()), agent.cpu()
    for _ in range(intervals):
        assure.ask("finish", str(finish))
        time.sleep(poll)
    if finish:
        agent.rests()
    return (sum(assure.calls().values()) - calls) / intervals, (agent.cpu() - spent) / intervals


def _fresh(size: int, failing: int, count: int) -> tuple[float, float]:
    """Milliseconds from a file to its start, p50 and p99."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), {"SCAN_INTERVAL": "1h"})
        keys = begin(place.store)
        now = time.time()
        waits = grow(place.store, [waiting(now)], named(keys, (f"waiting-{n}" for n in range(size))))
        fails = grow(place.store, [deleting(now)], named(keys, (f"failing-{n}" for n in range(failing))))
        with peer(place.folder, waits, fails, delay=600.0) as assure, place.running(assure.url) as agent:
            agent.said('"event": "started"')
            time.sleep(20.0 if size else 3.0)  # what fails is tried again less and less often
            dropped, turn = {}, time.monotonic()
            for number in range(count):
                one = f"fresh-{number}"
                dropped[reference(keys, one)] = place.drop(one)
                turn += _PACE
                time.sleep(max(0.0, turn - time.monotonic()))
            started: dict[str, float] = {}

            def all_started() -> bool | None:
                started.update(assure.ask("times")["started"])
                return dropped.keys() <= started.keys() or None

            eventually(all_started)
    took = sorted(1000 * (started[reference] - at) for reference, at in dropped.items())
    return statistics.median(took), took[int(0.99 * len(took))]
