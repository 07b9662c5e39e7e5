"""A restart with many settled requests, compared with one without, on both engines. Settled ones must not slow it."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.identity_key import Keys
from bench import synthetic_database
from bench.command import Workspace, eventually
from bench.postgres import Postgres, postgres
from bench.process import median
from bench.report import Ratio, Scale, Section
from bench.simulator_process import SimulatorProcess, simulator_process
from bench.synthetic_store import DAY, SyntheticRequest, begin, filed, named, settled, waiting, write_store
from verification.builders.lives import Life
from verification.builders.settings import settings

_ROWS = {
    "first_call": "start to the first call, s",
    "cpu": "CPU until then, s",
    "rss": "memory then, MB",
    "metrics": "first /metrics, ms",
    "page": "page of the API, ms",
    "get": "get NAME, CPU s",
    "plan": "plan, CPU s",
}
_AIMS = (
    ("first_call", "start to the first call", 1.2),
    ("rss", "memory", 1.1),
    ("metrics", "first /metrics", 1.5),
    ("page", "page of the API", 1.5),
    ("get", "get NAME", 1.2),
    ("plan", "plan", 1.2),
)
_DATABASE = "restart"
_TOKEN = "t" * 40  # of the API


@dataclass(frozen=True, slots=True)
class _Place:
    """A workspace, and how its store begins and grows."""

    workspace: Workspace
    known: Settings
    begin: Callable[[], Keys]
    write: Callable[[Sequence[Life], Iterable[SyntheticRequest]], list[SyntheticRequest]]


def measure(scale: Scale) -> Section:
    """Measure the same store before and after its growth."""
    settled_ones, open_ones = (1_000_000, 10_000) if scale.long else (100_000, 1_000)
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        places = (_file(Path(name) / "sqlite"), _database(Path(name) / "postgres", server))
        found = [_grown(scale, place, settled_ones, open_ones) for place in places]
        sizes = [_size(place) / 1e6 for place in places]
    return Section(
        name="restart",
        title=f"Restart with {open_ones:,} open requests and {settled_ones:,} settled ones ({sizes[0]:,.0f} MB, and "
        f"{sizes[1]:,.0f} MB on PostgreSQL), medians of {scale.rounds} rounds",
        columns=("open only", "and settled", "open only, PostgreSQL", "and settled, PostgreSQL"),
        rows=[(label, tuple(figures[key] for pair in found for figures in pair)) for key, label in _ROWS.items()],
        ratios=[
            Ratio(name=f"{label}, with settled / without{engine}", value=copy[key] / without[key], aim=aim, most=True)
            for engine, (without, copy) in zip(("", ", on PostgreSQL"), found, strict=True)
            for key, label, aim in _AIMS
        ],
    )


def _file(folder: Path) -> _Place:
    folder.mkdir()
    workspace = Workspace(folder, {"API_TOKEN": _TOKEN})
    known = Settings(**settings(folder, "http://127.0.0.1:9"))
    return _Place(workspace, known, partial(begin, workspace.store), partial(write_store, workspace.store))


def _database(folder: Path, server: Postgres) -> _Place:
    folder.mkdir()
    where = {"STATE_URL": server.create_database(_DATABASE), "STATE_DIR": str(folder / "state")}
    known = Settings(**settings(folder, "http://127.0.0.1:9", **{key.lower(): value for key, value in where.items()}))
    write = partial(synthetic_database.write_database, server, _DATABASE, known)
    workspace = Workspace(folder, {"API_TOKEN": _TOKEN, **where})
    return _Place(workspace, known, partial(synthetic_database.begin, known), write)


def _size(place: _Place) -> float:
    with open_reading(place.known) as reading:
        return reading.store_bytes()


def _grown(scale: Scale, place: _Place, settled_ones: int, open_ones: int) -> tuple[dict[str, float], dict[str, float]]:
    """The figures with open requests only, and with settled ones besides."""
    keys, now, workspace = place.begin(), time.time(), place.workspace
    names = [f"open-{number}" for number in range(open_ones)]
    for one in names:
        workspace.drop(one)
    open_requests = place.write([waiting(now, followed=True)], filed(keys, workspace.specs, names))
    with simulator_process(workspace.folder, open_requests) as assure:
        without = _rounds(scale, workspace, assure, "without")
        past = [settled(now - day * DAY) for day in range(1, 6)]
        place.write(past, named(keys, (f"settled-{number}" for number in range(settled_ones))))
        return without, _rounds(scale, workspace, assure, "beside")


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
            "metrics": 1000 * agent.seconds("/metrics"),
            "page": 1000 * agent.seconds("/api/requests?limit=100", _TOKEN),
        }
        found["get"] = place.timed("get", name)
        found["plan"] = place.timed("plan")
    return found
