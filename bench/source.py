"""A folder of many request files: the first load, a resync without changes, and the change of one file."""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from agent.daemon.agent import Agent
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.store.identity_key import Keys
from bench.command import Workspace, eventually, reference
from bench.process import child, cpu, median, report, rss
from bench.report import Ratio, Scale, Section
from bench.request_files import request
from bench.simulator_process import SimulatorProcess, simulator_process
from verification.builders.settings import settings

_FOLDERS = 100
_SUSPENDED = "  suspend: true\n"  # the request is admitted and causes no call
_CHECKS = 10  # resyncs, and bare walks by turns with them
_ROWS = {
    "load": ("first load, s", "load_cpu"),
    "resync": ("resync, nothing changed, ms", "resync_cpu"),
    "bare": ("bare scandir and stat, ms", "bare_cpu"),
}


def measure(scale: Scale) -> Section:
    """Measure load, resync and change."""
    count, changes = (100_000, 100) if scale.long else (10_000, 30)
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        with simulator_process(place.folder, delay=600.0) as assure:
            found = median([_loaded(place, assure, count) for _ in range(scale.rounds if scale.long else 1)])
            p50, p99 = _changed(place, assure, count, changes)
    per_file = 1e6 * found["load_cpu"] / count
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        (label, (found[key], found[other])) for key, (label, other) in _ROWS.items()
    ]
    rows += [
        ("a file, CPU us at the first load", (None, per_file)),
        ("memory with all of them, MB", (found["rss"] / 1e6, None)),
        ("a changed file to its first call, p50 ms", (p50, None)),
        ("a changed file to its first call, p99 ms", (p99, None)),
    ]
    return Section(
        name="source",
        title=f"Source: {count:,} files in {_FOLDERS} folders, {changes} of them changed one by one",
        columns=("wall", "CPU"),
        rows=rows,
        ratios=[
            Ratio(
                name="CPU of a resync / of a bare scandir and stat",
                value=found["resync_cpu"] / found["bare_cpu"],
                aim=1.5,
                most=True,
            ),
            Ratio(
                name="a changed file to its first call, p50 ms",
                value=p50,
                aim=1000.0 if scale.long else 400.0,
                most=True,
            ),
        ],
    )


def _loaded(place: Workspace, assure: SimulatorProcess, count: int) -> dict[str, float]:
    for path in place.store.parent.iterdir():
        path.unlink()
    for number in range(count):
        folder = place.specs / f"{number % _FOLDERS:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"person-{number}.yaml").write_text(request(f"person-{number}") + _SUSPENDED)
    time.sleep(0.5)  # they settle
    return child("bench.source", str(place.folder), assure.url)


def _changed(place: Workspace, assure: SimulatorProcess, count: int, changes: int) -> tuple[float, float]:
    """The milliseconds from a change of a file to its first call."""
    keys = Keys.load_or_create(place.store)
    took = []
    with place.running(assure.url) as agent:
        agent.output('"event": "started"')
        agent.wait_until_idle()
        for number in range(0, count, count // changes):
            name, made = f"person-{number}", place.folder / "made.tmp"
            made.write_text(request(name))
            asked, changed = reference(keys, name), time.time()
            made.rename(place.specs / f"{number % _FOLDERS:02}" / f"{name}.yaml")
            created = eventually(lambda asked=asked: assure.send("times")["created"].get(asked))  # type: ignore[misc]
            took.append(1000 * (created - changed))
            time.sleep(0.1)
    took.sort()
    return statistics.median(took), took[int(0.99 * len(took))]


async def _load(folder: Path, url: str) -> dict[str, float]:
    """Run the first scan in its own process, then the resyncs in turn with a bare walk."""
    configure("json", "error")
    known = Settings(**settings(folder, url, poll_interval=1.0, agent_id="bench"))
    async with Agent.opened(known) as agent:
        began, spent = time.perf_counter(), cpu()
        await agent.scan()
        found = {"load": time.perf_counter() - began, "load_cpu": cpu() - spent, "rss": float(rss())}
        times: dict[str, list[float]] = {"resync": [], "resync_cpu": [], "bare": [], "bare_cpu": []}
        for _ in range(_CHECKS):
            began, spent = time.perf_counter(), cpu()
            await agent.scan()
            times["resync"].append(time.perf_counter() - began)
            times["resync_cpu"].append(cpu() - spent)
            began, spent = time.perf_counter(), cpu()
            _walk(str(folder / "specs"))
            times["bare"].append(time.perf_counter() - began)
            times["bare_cpu"].append(cpu() - spent)
        return found | {key: 1000 * statistics.median(values) for key, values in times.items()}


def _walk(folder: str) -> dict[str, tuple[int, int]]:
    """The minimum work of any scan."""
    found, pending = {}, [folder]
    for place in pending:  # the list grows in the loop
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    status = entry.stat()
                    found[entry.path] = status.st_size, status.st_mtime_ns
    return found


if __name__ == "__main__":
    report(**uvloop.run(_load(Path(sys.argv[1]), sys.argv[2])))
