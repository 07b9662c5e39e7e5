"""A restart with many settled requests, compared with one without. Settled requests must not slow it down."""

import tempfile
import time
from pathlib import Path

from bench.command import Workspace, eventually
from bench.process import median
from bench.report import Ratio, Scale, Section
from bench.simulator_process import SimulatorProcess, simulator_process
from bench.synthetic_store import DAY, begin, filed, named, settled, waiting, write_store

_ROWS = {
    "first_call": "start to the first call, s",
    "cpu": "CPU until then, s",
    "rss": "memory then, MB",
    "metrics": "first /metrics, ms",
    "get": "get NAME, CPU s",
    "plan": "plan, CPU s",
}


def measure(scale: Scale) -> Section:
    """Measure the same store before and after its growth."""
    settled_ones, open_ones = (1_000_000, 10_000) if scale.long else (100_000, 1_000)
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        keys = begin(place.store)
        now = time.time()
        names = [f"open-{number}" for number in range(open_ones)]
        for one in names:
            place.drop(one)
        open_requests = write_store(place.store, [waiting(now, followed=True)], filed(keys, place.specs, names))
        with simulator_process(place.folder, open_requests) as assure:
            without = _rounds(scale, place, assure, "without")
            past = [settled(now - day * DAY) for day in range(1, 6)]
            write_store(place.store, past, named(keys, (f"settled-{number}" for number in range(settled_ones))))
            copy = _rounds(scale, place, assure, "beside")
        size = place.store.stat().st_size / 1e6
    return Section(
        name="restart",
        title=f"Restart with {open_ones:,} open requests and {settled_ones:,} settled ones ({size:,.0f} MB), "
        f"medians of {scale.rounds} rounds",
        columns=("open only", "and settled"),
        rows=[(label, (without[key], copy[key])) for key, label in _ROWS.items()],
        ratios=[
            Ratio(name=f"{label}, with settled / without", value=copy[key] / without[key], aim=aim, most=True)
            for key, label, aim in (
                ("first_call", "start to the first call", 1.2),
                ("rss", "memory", 1.1),
                ("metrics", "first /metrics", 1.5),
                ("get", "get NAME", 1.2),
                ("plan", "plan", 1.2),
            )
        ],
    )


def _rounds(scale: Scale, place: Workspace, assure: SimulatorProcess, label: str) -> dict[str, float]:
    return median([_round(place, assure, f"{label}-{number}") for number in range(scale.rounds)])


def _round(place: Workspace, assure: SimulatorProcess, name: str) -> dict[str, float]:
    """Start with one new file. The creation of its dossier is the first call."""
    place.drop(name)
    time.sleep(0.3)  # the file becomes stable
    assure.send("times")
    with place.running(assure.url) as agent:
        created = eventually(lambda: list(assure.send("times")["created"].values()) or None)
        found = {
            "first_call": created[0] - agent.started_at,
            "cpu": agent.cpu(),
            "rss": agent.rss() / 1e6,
            "metrics": 1000 * agent.metrics(),
        }
        found["get"] = place.timed("get", name)
        found["plan"] = place.timed("plan")
    return found
