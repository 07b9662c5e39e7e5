"""The store alone, on both engines: durable transitions, bytes on disk, and the verification of the whole audit log."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from agent.core.record import Phase
from agent.core.step import Step
from agent.platform.settings import Settings
from agent.store import open_reading, open_store
from bench.postgres import Postgres, postgres
from bench.process import child, cpu, cpu_of_tree, median, report
from bench.report import Ratio, Scale, Section
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.settings import settings

_AT_ONCE = (1, 8, 64)
_DIGITS = 24  # of a uid
_NO_SERVER = "0"  # its process id


def measure(scale: Scale) -> Section:
    """Measure each part in its own process, on its own file or database, the engines in turn."""
    lives = 2000 if scale.long else 300
    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    with postgres() as server:
        for turn in range(scale.rounds):
            for at_once in (*_AT_ONCE, 0):
                runs.setdefault(("sqlite", at_once), []).append(_run(lives, at_once))
                if at_once:
                    found = _run(lives, at_once, server, f"store_{turn}_{at_once}")
                    runs.setdefault(("postgres", at_once), []).append(found)
    medians = {key: median(found) for key, found in runs.items()}
    rows = [(f"{at_once} at a time, each durable", _figures(medians["sqlite", at_once])) for at_once in _AT_ONCE]
    rows.append(("ceiling: all in one transaction", _figures(medians["sqlite", 0])))
    rows += [(f"{at_once} at a time, on PostgreSQL", _figures(medians["postgres", at_once])) for at_once in _AT_ONCE]
    last = medians["sqlite", 0]
    rows.append(("audit verify, events/s", (last["verified"], last["verify_cpu"], None)))
    rows.append(("bytes on disk per settled request", (last["bytes"], None, None)))
    rows.append(("bytes on disk per settled request, on PostgreSQL", (medians["postgres", 64]["bytes"], None, None)))
    rates = {at_once: medians["sqlite", at_once]["rate"] for at_once in (*_AT_ONCE, 0)}
    return Section(
        name="store",
        title=f"Store: the transitions of {lives:,} uploads, durable on the disk, medians of {scale.rounds} rounds",
        columns=("transitions/s", "agent CPU us each", "database CPU us each"),
        rows=rows,
        ratios=[
            Ratio(name="64 at a time / the ceiling", value=rates[64] / rates[0]),
            Ratio(name="64 at a time / one at a time", value=rates[64] / rates[1]),
            *(_ratio(runs, at_once, whole) for whole in (False, True) for at_once in _AT_ONCE),
        ],
    )


def _figures(found: dict[str, float]) -> tuple[float | None, ...]:
    return found["rate"], found["cpu"], found.get("server")


def _ratio(runs: dict[tuple[str, int], list[dict[str, float]]], at_once: int, whole: bool) -> Ratio:
    """The CPU of a transition on PostgreSQL, divided by that on SQLite in the same round. It has no aim."""
    values = [
        (one["cpu"] + whole * one["server"]) / other["cpu"]
        for one, other in zip(runs["postgres", at_once], runs["sqlite", at_once], strict=True)
    ]
    name = "agent and database CPU" if whole else "agent CPU"
    return Ratio.of_rounds(f"{name} on PostgreSQL / on SQLite, {at_once} at a time", values)


def _run(lives: int, at_once: int, server: Postgres | None = None, database: str = "") -> dict[str, float]:
    where = ("", _NO_SERVER) if server is None else (server.create_database(database), str(server.server.pid))
    return child("bench.store", str(lives), str(at_once), *where)


async def _commit(known: Settings, lives: list[list[Step]], at_once: int, server: int) -> dict[str, float]:
    steps = sum(map(len, lives))
    store = await open_store(known, None)
    at_server = cpu_of_tree(server) if server else 0.0
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
    figures = {"rate": steps / seconds, "cpu": 1e6 * used / steps}
    if server:
        figures["server"] = 1e6 * (cpu_of_tree(server) - at_server) / steps
    await store.aclose()
    with open_reading(known) as reading:
        return figures | {"bytes": reading.store_bytes() / len(lives)}


async def _main(count: int, at_once: int, url: str, server: int) -> dict[str, float]:
    lives = [Life(f"{number:0{_DIGITS}x}").until(Phase.DONE).steps for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = {"state_url": url, "state_dir": folder / "state"} if url else {}
        known = Settings(**settings(folder, "http://127.0.0.1:9", **where))
        found = await _commit(known, lives, at_once, server)
        if url:
            return found
        began, spent = time.perf_counter(), cpu()
        verdict = verified(known.state_path)
        assert not verdict.findings
        seconds, used = time.perf_counter() - began, cpu() - spent
    return found | {"verified": verdict.events / seconds, "verify_cpu": 1e6 * used / verdict.events}


if __name__ == "__main__":
    report(**uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
