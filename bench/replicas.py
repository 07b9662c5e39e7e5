"""Uploads through all phases by 1, 2 and 4 replicas on one database: the CPU of a lifecycle, and the rate.

All replicas share the first core, and the database and the simulator share the last one. So the rate shows only that
replicas do not hinder each other.

Replicas share 90 requests in flight, because the list of Assure shows 100 dossiers. So each of four works on 22 at a
time, and a commit of it has fewer steps than one of a single replica. A single replica with 22 shows this effect alone.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from agent.daemon.agent import Agent
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store import open_store
from agent.store.postgres.versions import NUMBER
from bench.plain_calls import CONCURRENCY
from bench.postgres import Postgres, postgres
from bench.process import CORES, cpu_of, median, sandbox
from bench.report import Ratio, Scale, Section
from bench.request_files import FRONT, request
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import settings

_FEW = 22  # requests at a time of each of four replicas
_FLEETS = ((1, CONCURRENCY), (1, _FEW), (2, CONCURRENCY), (4, CONCURRENCY))  # replicas, and requests at a time of each
Runs = dict[tuple[int, int], list[dict[str, float]]]

_WAIT = 600.0  # seconds for all lifecycles
_BEGUN = "SELECT count(*) FROM requests WHERE phase <> 'dossier'"
_DONE = "SELECT count(*) FROM requests WHERE phase = 'done'"
_COMMITS = f"SELECT calls FROM pg_stat_user_functions WHERE funcname = 'commit_batch_{NUMBER}'"
_READY = """
SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM replicas WHERE kind = 'replica')
"""


def measure(scale: Scale) -> Section:
    """Run the fleets in turn, each on a new database and against a new simulator."""
    files = 4000 if scale.long else 1000
    runs: Runs = {fleet: [] for fleet in _FLEETS}
    with postgres("track_functions=pl") as server:
        for turn in range(scale.rounds):
            for count, most in _FLEETS:
                runs[count, most].append(_run(server, f"replicas_{turn}_{count}_{most}", count, most, files))
    medians = {fleet: median(found) for fleet, found in runs.items()}
    return Section(
        name="replicas",
        title=f"Replicas: {files:,} uploads of 50 kB on one database, medians of {scale.rounds} rounds",
        columns=("lifecycles/s", "replicas CPU ms", "database CPU ms", "all CPU ms", "commits"),
        rows=[(_label(*fleet), tuple(found.values())) for fleet, found in medians.items()],
        ratios=[_ratio(runs, 2, CONCURRENCY), _ratio(runs, 4, CONCURRENCY), _ratio(runs, 4, _FEW)],
    )


def _label(count: int, most: int) -> str:
    return f"{count} replicas" if count > 1 else "1 replica" if most == CONCURRENCY else f"1 replica, {most} at a time"


def _ratio(runs: Runs, count: int, most: int) -> Ratio:
    """The CPU of a lifecycle, divided by that of one replica that works on at most so many at a time."""
    pairs = zip(runs[count, CONCURRENCY], runs[1, most], strict=True)
    name = f"CPU of a lifecycle with its database, {count} replicas / {_label(1, most)}"
    return Ratio.of_rounds(name, [many["all"] / one["all"] for many, one in pairs], aim=1.15, most=True)


def _run(server: Postgres, name: str, count: int, most: int, files: int) -> dict[str, float]:
    """The figures for each lifecycle. The replicas admit all files before the first call."""
    with tempfile.TemporaryDirectory() as place, sandbox() as (url, _):
        folder, state_url = Path(place), server.create_database(name)
        write(folder / FRONT, noise())
        for number in range(files):
            write(folder / "specs" / f"{number}.yaml", request(f"person-{number}"))
        time.sleep(0.3)  # files settle before they are read
        asyncio.run(_pause(_settings(folder, url, state_url, most, 0)))
        with _fleet(folder, url, state_url, count, most) as fleet:
            _await(server, name, _READY, files + count)
            spent, at_database = [cpu_of(one.pid) for one in fleet], server.cpu()
            server.execute(name, f"DELETE FROM meta WHERE key = '{MetaKey.PAUSED}'")
            _await(server, name, _BEGUN, 1)
            began = time.perf_counter()
            _await(server, name, _DONE, files)
            seconds = time.perf_counter() - began
            replicas = sum(cpu_of(one.pid) - before for one, before in zip(fleet, spent, strict=True))
            database = server.cpu() - at_database
        commits = asyncio.run(server.server.execute(_COMMITS, database=name))[0][0]
    per_lifecycle = {"replicas": replicas, "database": database, "all": replicas + database}
    costs = {part: 1000 * cpu / files for part, cpu in per_lifecycle.items()}
    return {"rate": files / seconds} | costs | {"commits": commits / files}


def _settings(folder: Path, url: str, state_url: str, most: int, number: int) -> Settings:
    own = {"state_url": state_url, "state_dir": folder / f"state-{number}", "key_file": folder / "agent.key"}
    return Settings(**settings(folder, url, concurrency=most, poll_interval=1.0, **own))


async def _pause(known: Settings) -> None:
    store = await open_store(known, None)
    await store.remember(MetaKey.PAUSED, time.time())
    await store.aclose()


def _await(server: Postgres, name: str, sql: str, wanted: int) -> None:
    """Wait until the number of the query is reached."""
    end = time.monotonic() + _WAIT
    while asyncio.run(server.server.execute(sql, database=name))[0][0] < wanted:
        if time.monotonic() > end:
            sys.exit(f"not reached in {_WAIT:.0f} s: {sql}")
        time.sleep(0.1)


@contextlib.contextmanager
def _fleet(folder: Path, url: str, state_url: str, count: int, most: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """So many replicas in processes of their own, on the first core, while the block runs."""
    command = [sys.executable, "-m", "bench.replicas", str(folder), url, state_url, str(most)]
    fleet = [subprocess.Popen([*command, str(number)]) for number in range(count)]
    for one in fleet:
        os.sched_setaffinity(one.pid, {CORES[0]})
    try:
        yield fleet
    finally:
        for one in fleet:
            one.terminate()
        for one in fleet:
            one.wait()


async def _replica(folder: str, url: str, state_url: str, most: str, number: str) -> None:
    configure("json", "error")
    async with Agent.opened(_settings(Path(folder), url, state_url, int(most), int(number))) as agent:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stop)
        await agent.run()


if __name__ == "__main__":
    uvloop.run(_replica(*sys.argv[1:]))
