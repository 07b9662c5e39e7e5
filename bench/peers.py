"""The same uploads by the agent and by two general libraries for durable work, pgqueuer and DBOS.

All CPU counts: that of each program from the start of its process, and that of the database server. A bare loop over
plain aiohttp is measured as well. The peers have their own environment (dependency group `peers`).
"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from agent.store.sqlite.connection import sqlite3
from bench.command import Workspace
from bench.plain_calls import CONCURRENCY
from bench.postgres import Postgres, postgres
from bench.process import child, median, sandbox
from bench.report import Ratio, Scale, Section, Skipped
from bench.request_files import request
from verification.builders.pictures import noise
from verification.builders.request_files import write

ENVIRONMENT = Path(sys.prefix) / "peers"  # `make bench` creates it
_KINDS = {
    "plain": "bare loop over plain aiohttp, nothing saved",
    "agent": "agent, every transition durable before its call",
    "pgqueuer": "pgqueuer, row saved after each call",
    "dbos": "DBOS, workflow with a step for each call",
}


def measure(scale: Scale) -> Section:
    """Run the kinds in turn, each against a new simulator and a new database. Raises Skipped without the peers."""
    count = 3000 if scale.long else 300
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    if not ENVIRONMENT.exists():
        raise Skipped(f"{ENVIRONMENT} does not exist. Try: make bench SECTIONS=peers")
    with postgres() as server, tempfile.TemporaryDirectory() as name:
        images = Path(name)
        for number in range(count):
            write(images / f"{number}.jpg", noise())
        for turn in range(scale.rounds):
            for kind, found in runs.items():
                found.append(_run(kind, count, images, server, f"{kind}_{turn}"))
    total = {kind: [figures["total"] for figures in found] for kind, found in runs.items()}

    def ratio(one: str, other: str, name: str, aim: float | None = None, most: bool = True) -> Ratio:
        values = [first / second for first, second in zip(total[one], total[other], strict=True)]
        return Ratio.of_rounds(name, values, aim, most)

    return Section(
        name="peers",
        title=f"Peers: {count:,} uploads of an own image of 50 kB at concurrency {CONCURRENCY}, "
        f"medians of {scale.rounds} rounds",
        columns=("lifecycles/s", "CPU ms", "database server CPU ms", "all CPU ms"),
        rows=[(_KINDS[kind], tuple(median(found).values())) for kind, found in runs.items()],
        ratios=[
            ratio("agent", "pgqueuer", "all CPU of the agent / of pgqueuer", 0.6),
            ratio("agent", "dbos", "all CPU of the agent / of DBOS", 0.12),
            ratio("plain", "agent", "all CPU of the bare loop / of the agent", most=False),
        ],
    )


def _run(kind: str, count: int, images: Path, server: Postgres, database: str) -> dict[str, float]:
    """The rate, and the CPU milliseconds of a lifecycle: of the program, of the database server, and of both."""
    at_server = 0.0
    with sandbox() as (url, _):
        if kind == "agent":
            took = _run_agent(count, images, url)
        elif kind == "plain":
            took = _run_peer(kind, count, url, "", str(images))
        else:
            server.create_database(database)
            arguments = (url, server.tcp_url(database), str(images))
            _run_peer(kind, 0, *arguments)
            before = server.cpu()
            took = _run_peer(kind, count, *arguments)
            at_server = server.cpu() - before
    own, at_server = 1000 * took["cpu"] / count, 1000 * at_server / count
    return {"rate": count / took["seconds"], "own": own, "server": at_server, "total": own + at_server}


def _run_peer(kind: str, count: int, *arguments: str) -> dict[str, float]:
    return child(f"bench.peer_{kind}", str(count), *arguments, python=str(ENVIRONMENT / "bin" / "python"))


def _run_agent(count: int, images: Path, url: str) -> dict[str, float]:
    """Run the installed command on a new store, with a request file for each image."""
    given = {"IMAGES_DIR": str(images), "CONCURRENCY": str(CONCURRENCY), "POLL_INTERVAL": "1s", "LOG_LEVEL": "error"}
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name), given)
        for number in range(count):
            text = request(f"person-{number}").replace("front.jpg", f"{number}.jpg")
            write(place.specs / f"{number}.yaml", text)
        time.sleep(0.3)  # files settle before they are read
        began = time.perf_counter()
        spent = place.timed("run", "--once", url=url)
        seconds = time.perf_counter() - began
        with contextlib.closing(sqlite3.connect(place.store)) as connection:
            (done,) = connection.execute("SELECT count(*) FROM requests WHERE phase = 'done'").fetchone()
    if done != count:
        sys.exit(f"The agent finished {done} of {count} requests.")
    return {"seconds": seconds, "cpu": spent}
