"""Memory of open requests and of large images. The agent must never hold all images at once."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.command import Workspace, eventually
from bench.process import median
from bench.report import Ratio, Scale, Section
from bench.request_files import FRONT, request
from bench.simulator_process import simulator_process
from bench.synthetic_store import begin, filed, waiting, write_store
from verification.builders.pictures import noise
from verification.builders.request_files import write

_SIDE = 2330  # pixels: 5 MB
_AT_ONCE = 16
_COPIES = 1.5  # of an image in one upload: its bytes, and the pieces of base64 that are being sent


def measure(scale: Scale) -> Section:
    """Measure agents with waiting requests, then agents with uploads."""
    few, many = (1_000, 100_000) if scale.long else (1_000, 10_000)
    some, more = (48, 192) if scale.long else (32, 96)
    waits = {count: _waits(count) for count in (few, many)}
    image = len(noise(_SIDE)) / 1e6
    uploads = {count: median([_uploads(count) for _ in range(scale.rounds)]) for count in (some, more)}
    each = (waits[many] - waits[few]) / (many - few)
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        (f"{count:,} requests wait, their files in the folder", (size / 1e6, None, None))
        for count, size in waits.items()
    ]
    rows.append(("bytes per request that waits", (each, None, None)))
    for count, found in uploads.items():
        peak, rest = found["peak"] / 1e6, found["rest"] / 1e6
        rows.append((f"{count} uploads of {image:.1f} MB, {_AT_ONCE} at once", (peak, peak - rest, found["cpu"])))
    return Section(
        name="memory",
        title=f"Memory of the agent: waiting requests and large images, medians of {scale.rounds} rounds",
        columns=("RSS MB", "beyond rest MB", "CPU ms/MB"),
        rows=rows,
        ratios=list(_bounded(uploads, image)),
    )


def _bounded(uploads: dict[int, dict[str, float]], image: float) -> Iterator[Ratio]:
    """More uploads need no more memory, and each image few copies."""
    less, more = ((found["peak"] - found["rest"]) / 1e6 for found in uploads.values())
    some, many = uploads
    yield Ratio(name=f"memory of {many} uploads / of {some}", value=more / less, aim=1.3, most=True)
    copies = f"copies of an image, {_AT_ONCE} at once, memory / ({_AT_ONCE} x {image:.1f} MB)"
    yield Ratio(name=copies, value=more / (_AT_ONCE * image), aim=_COPIES, most=True)


def _waits(count: int) -> int:
    """The memory in bytes of an agent with this number of waiting requests."""
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name), {"SCAN_INTERVAL": "1h"})
        keys = begin(place.store)
        names = [f"person-{number}" for number in range(count)]
        for one in names:
            (place.specs / f"{one}.yaml").write_text(request(one))
        requests = write_store(place.store, [waiting(time.time(), followed=True)], filed(keys, place.specs, names))
        with simulator_process(place.folder, requests) as assure, place.running(assure.url) as agent:
            agent.wait_until_idle()
            return agent.rss()


def _uploads(count: int) -> dict[str, float]:
    """Memory at rest, peak memory, and CPU per megabyte, of this number of uploads."""
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name), {"CONCURRENCY": str(_AT_ONCE), "POLL_INTERVAL": "1s"})
        content = noise(_SIDE)
        write(place.folder / FRONT, content)
        with simulator_process(place.folder) as assure, place.running(assure.url) as agent:
            agent.wait_until_idle()
            rest, spent = agent.rss(), agent.cpu()
            for number in range(count):
                place.drop(f"person-{number}")
            eventually(lambda: assure.calls().get("deleteDossier", 0) >= count or None)
            used = agent.cpu() - spent
            return {"rest": rest, "peak": agent.peak(), "cpu": 1000 * used / (count * len(content) / 1e6)}
