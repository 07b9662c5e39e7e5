"""Uploads through all phases, every step durable, on both engines. The same calls without state are compared."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from agent.assure.account import TOKEN_PATH
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Done
from agent.core.assure_types import Depiction, ProcessType
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.ports import Image
from bench.paused_agent import Progress, paused_agent, run_lifecycles
from bench.plain_calls import CONCURRENCY, plain_calls, plain_lifecycle, run_all
from bench.postgres import Postgres, postgres
from bench.process import child, cpu, cpu_of, cpu_of_tree, median, report, sandbox
from bench.report import Ratio, Scale, Section
from bench.request_files import FRONT, request
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import CLIENT, settings

_KINDS = {
    "agent": "agent, every step durable, from its first call on",
    "database": "the same on PostgreSQL",
    "whole": "agent, with its start and the first scan of the files",
    "seam": "bare loop over the agent's client",
    "aiohttp": "bare loop over plain aiohttp",
}


def measure(scale: Scale) -> Section:
    """Run the kinds in turn, each against a new simulator."""
    count = 4000 if scale.long else 1000
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    with postgres() as server:
        for turn in range(scale.rounds):
            for kind in _KINDS:
                database = (server, f"lifecycle_{turn}") if kind == "database" else None
                runs[kind].append(_run(kind, count, database))
    medians = {kind: median(found) for kind, found in runs.items()}
    return Section(
        name="lifecycle",
        title=f"Lifecycle: {count:,} uploads of 50 kB at concurrency {CONCURRENCY}, medians of {scale.rounds} rounds",
        columns=("lifecycles/s", "client CPU ms", "server CPU ms", "database CPU ms"),
        rows=[(_KINDS[kind], tuple(figure or None for figure in found.values())) for kind, found in medians.items()],
        ratios=[
            _ratio(runs, "aiohttp", "agent", "agent from its first call on", aim=0.45),
            _ratio(runs, "aiohttp", "whole", "agent with its start and first scan", aim=0.38),
            _ratio(runs, "aiohttp", "seam", "bare loop over the agent's client", aim=2.0),
            _ratio(runs, "seam", "agent", "agent from its first call on"),
            _ratio_of_engines(runs, whole=False),
            _ratio_of_engines(runs, whole=True),
        ],
    )


def _ratio(
    runs: dict[str, list[dict[str, float]]], bare: str, other: str, name: str, aim: float | None = None
) -> Ratio:
    """The CPU of a bare loop, divided by that of another part of the same round."""
    values = [one["client"] / two["client"] for one, two in zip(runs[bare], runs[other], strict=True)]
    loop = "plain aiohttp" if bare == "aiohttp" else "the agent's client"
    return Ratio.of_rounds(f"CPU, bare loop over {loop} / {name}", values, aim)


def _ratio_of_engines(runs: dict[str, list[dict[str, float]]], whole: bool) -> Ratio:
    """The CPU of an agent on PostgreSQL, divided by that of the same agent on SQLite. `whole`: and of the database."""
    values = [
        (one["client"] + whole * one["database"]) / other["client"]
        for one, other in zip(runs["database"], runs["agent"], strict=True)
    ]
    name = "agent and database CPU" if whole else "agent CPU"
    return Ratio.of_rounds(f"{name} on PostgreSQL / on SQLite", values, aim=1.5 if whole else 1.0, most=True)


def _run(kind: str, count: int, database: tuple[Postgres, str] | None) -> dict[str, float]:
    """Measure one run of this kind, per lifecycle. `database`: the server, and the name of a new database."""
    given = [] if database is None else [database[0].create_database(database[1]), str(database[0].server.pid)]
    part = "agent" if kind == "database" else kind
    with sandbox() as (url, server):
        took = child("bench.lifecycle", part, str(count), url, *given)
        at_peer = 1000 * cpu_of(server) / count
    spent = {
        "client": 1000 * took["cpu"] / count,
        "server": at_peer,
        "database": 1000 * took.get("database", 0.0) / count,
    }
    return {"rate": count / took["seconds"], **spent}


async def client_lifecycle(client: AssureClient, reference: str, image: Image) -> None:
    """The calls that the agent makes for one upload request, and nothing else."""
    dossier = await client.create_dossier(reference)
    assert isinstance(dossier, Done)
    process = await client.create_process(dossier.value, ProcessType.DOCUMENT, 137)
    assert isinstance(process, Done)
    ids = dossier.value, process.value.process_id
    await client.upload_images(*ids, {Depiction.FRONT: image})
    await client.start_verification(*ids)
    read = await client.read_process(*ids)
    assert isinstance(read, Done)
    assert read.value.status.final
    await client.delete_dossier(dossier.value)
    await client.read_dossier(dossier.value)


async def _seam(count: int, url: str) -> dict[str, float]:
    config = Config(base_url=url, token_url=url + TOKEN_PATH, concurrency=CONCURRENCY, **CLIENT)
    image = Image(content=noise(), media_type="image/jpeg")
    began, spent = time.perf_counter(), cpu()
    async with AssureClient(config, SystemClock()) as client:
        await run_all(count, lambda number: client_lifecycle(client, f"bare-{number}-{time.time_ns()}", image))
    return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}


async def _aiohttp(count: int, url: str) -> dict[str, float]:
    """The same calls, with nothing between them and the socket."""
    image = noise()
    began, spent = time.perf_counter(), cpu()
    async with plain_calls(url) as calls:
        await run_all(count, lambda number: plain_lifecycle(calls, f"plain-{number}-{time.time_ns()}", image))
    return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}


async def _agent(count: int, url: str, state_url: str = "", server: str = "") -> dict[str, float]:
    """The lifecycles of an agent that has admitted all files before its first call.

    `state_url`: its database. `server`: the process id of the database server.
    """
    began = spent = at_database = 0.0

    def start() -> None:
        nonlocal began, spent, at_database
        began, spent = time.perf_counter(), cpu()
        at_database = cpu_of_tree(int(server)) if server else 0.0

    progress = Progress(count, lambda: agent.stop())
    store = {"state_url": state_url} if state_url else {}
    async with paused_agent(count, url, progress, poll_interval=1.0, **store) as agent:
        await run_lifecycles(agent, progress, start)
        found = {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}
        return found | ({"database": cpu_of_tree(int(server)) - at_database} if server else {})


async def _whole(count: int, url: str) -> dict[str, float]:
    """The agent from its start to its end. Files go in, and it deletes dossiers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / FRONT, noise())
        known = Settings(**settings(folder, url, poll_interval=1.0, concurrency=CONCURRENCY))
        for number in range(count):
            write(folder / "specs" / f"{number}.yaml", request(f"person-{number}"))
        await asyncio.sleep(0.3)  # files settle before they are read
        configure("json", "error")
        began, spent = time.perf_counter(), cpu()
        async with Agent.opened(known) as running:
            finished = await running.run_once(600.0)
        assert not finished.unfinished
        assert not finished.refused
        return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}


if __name__ == "__main__":
    part = {"seam": _seam, "aiohttp": _aiohttp, "agent": _agent, "whole": _whole}[sys.argv[1]]
    report(**uvloop.run(part(int(sys.argv[2]), *sys.argv[3:])))
