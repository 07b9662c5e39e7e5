"""Uploads through all phases, every step durable, compared with the same calls in a loop without state."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from agent.assure import request_bodies
from agent.assure.account import TOKEN_PATH
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Done
from agent.core.assure_types import Depiction, ProcessType
from agent.core.step import Step
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.ports import Image
from bench.process import child, cpu, cpu_of, median, report, sandbox
from bench.report import Ratio, Scale, Section
from bench.request_files import FRONT, request
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import CLIENT, settings

CONCURRENCY = 64
_KINDS = {
    "agent": "agent, every step durable, from its first call on",
    "whole": "agent, with its start and the first scan of the files",
    "seam": "bare loop over the agent's client",
    "aiohttp": "bare loop over plain aiohttp",
}


def measure(scale: Scale) -> Section:
    """Run the three kinds in turn, each against a new simulator."""
    count = 4000 if scale.long else 1000
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    for _ in range(scale.rounds):
        for kind in ("whole", "seam", "aiohttp"):
            for measured, figures in _run(kind, count).items():
                runs[measured].append(figures)
    medians = {kind: median(found) for kind, found in runs.items()}
    rate = {kind: figures["rate"] for kind, figures in medians.items()}
    spent = {kind: figures["client"] for kind, figures in medians.items()}
    return Section(
        name="lifecycle",
        title=f"Lifecycle: {count:,} uploads of 50 kB at concurrency {CONCURRENCY}, medians of {scale.rounds} rounds",
        columns=("lifecycles/s", "client CPU ms", "server CPU ms"),
        rows=[(_KINDS[kind], tuple(figures.values())) for kind, figures in medians.items()],
        ratios=[
            Ratio(name="agent / bare loop over the same client", value=rate["agent"] / rate["seam"], aim=0.75),
            Ratio(name="agent / bare loop over plain aiohttp", value=rate["agent"] / rate["aiohttp"], aim=0.40),
            Ratio(name="agent with its start / bare loop over the same client", value=rate["whole"] / rate["seam"]),
            Ratio(name="CPU of the bare loop / CPU of the agent", value=spent["seam"] / spent["agent"]),
        ],
    )


def _run(kind: str, count: int) -> dict[str, dict[str, float]]:
    """Measure one run of this kind. A run of the agent gives two results."""
    with sandbox() as (url, server):
        took = child("bench.lifecycle", kind, str(count), url)
        at_peer = 1000 * cpu_of(server) / count

    def figures(seconds: float, spent: float) -> dict[str, float]:
        return {"rate": count / seconds, "client": 1000 * spent / count, "server": at_peer}

    found = {kind: figures(took["seconds"], took["cpu"])}
    if kind == "whole":
        found["agent"] = figures(took["seconds"] - took["until seconds"], took["cpu"] - took["until cpu"])
    return found


async def _all(count: int, lifecycle: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await lifecycle(number)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def _seam(count: int, url: str) -> dict[str, float]:
    """The calls that the agent makes for one upload request, and nothing else."""
    config = Config(base_url=url, token_url=url + TOKEN_PATH, concurrency=CONCURRENCY, **CLIENT)
    image = Image(content=noise(), media_type="image/jpeg")
    began, spent = time.perf_counter(), cpu()
    async with AssureClient(config, SystemClock()) as client:

        async def lifecycle(number: int) -> None:
            dossier = await client.create_dossier(f"bare-{number}-{time.time_ns()}")
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

        await _all(count, lifecycle)
    return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}


async def _aiohttp(count: int, url: str) -> dict[str, float]:
    """The same calls, with nothing between them and the socket."""
    image = Image(content=noise(), media_type="image/jpeg")
    base = url + "/assure/dossiers"
    began, spent = time.perf_counter(), cpu()
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        basic = {"Authorization": aiohttp.encode_basic_auth(CLIENT["client_id"], CLIENT["client_secret"])}
        form = {"grant_type": "client_credentials", "scope": "signicat-api"}
        async with session.post(url + TOKEN_PATH, data=form, headers=basic) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        async def call(method: str, path: str, status: int, content: bytes | None = None) -> Any:
            async with session.request(method, base + path, data=content, headers=headers) as answer:
                assert answer.status == status, (method, path, answer.status)
                body = await answer.read()
                return orjson.loads(body) if body else None

        async def lifecycle(number: int) -> None:
            made = await call("POST", "", 201, request_bodies.new_dossier(f"plain-{number}-{time.time_ns()}"))
            dossier = "/" + made["dossierId"]
            new = request_bodies.new_process(ProcessType.DOCUMENT, 137)
            process = f"{dossier}/processes/" + (await call("POST", dossier + "/processes", 201, new))["processId"]
            await call("POST", process + "/images", 201, request_bodies.new_images({Depiction.FRONT: image}))
            await call("POST", process, 200)
            await call("GET", process, 200)
            await call("DELETE", dossier, 204)
            await call("GET", dossier, 404)

        await _all(count, lifecycle)
    return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent}


async def _agent(count: int, url: str) -> dict[str, float]:
    """The agent from its start to its end, with its cost until the first call. Files go in, and it deletes dossiers."""
    until: dict[str, float] = {}

    def seen(step: Step) -> None:
        if not until and step.record.intent is not None:
            until.update({"until seconds": time.perf_counter() - began, "until cpu": cpu() - spent})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / FRONT, noise())
        known = Settings(**settings(folder, url, poll_interval=1.0, concurrency=CONCURRENCY))
        for number in range(count):
            write(folder / "specs" / f"{number}.yaml", request(f"person-{number}"))
        await asyncio.sleep(0.3)  # files settle before they are read
        configure("json", "error")
        began, spent = time.perf_counter(), cpu()
        async with Agent.opened(known, seen) as running:
            finished = await running.run_once(600.0)
        assert not finished.unfinished
        assert not finished.refused
        return {"seconds": time.perf_counter() - began, "cpu": cpu() - spent, **until}


if __name__ == "__main__":
    part = {"seam": _seam, "aiohttp": _aiohttp, "whole": _agent}[sys.argv[1]]
    report(**uvloop.run(part(int(sys.argv[2]), sys.argv[3])))
