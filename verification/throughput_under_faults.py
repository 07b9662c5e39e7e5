"""The time to settle a folder of requests with faults on a quarter of the calls.

`run_with_faults` uses a virtual clock, so the machine does not influence the figure. `timed` runs the installed command
against the sandbox in another process, in real time. Each is a row of `make chaos`.
"""

import json
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from agent.sandbox import SandboxConfig
from agent.sandbox.faults.rules import Rule
from verification.builders.request_files import upload, write_atomically, write_pictures
from verification.builders.settings import environment
from verification.processes import COMMAND
from verification.simulation import Simulation
from verification.temp_stores import temporary_folder
from verification.virtual_time import START, run_virtual

TIMEOUT = 3.0  # seconds, REQUEST_TIMEOUT. The hangs are longer
_SHARE, _CALLS = 0.25, 4_000  # the share of calls with faults, and their number
_PATIENCE = 3_600.0  # virtual seconds
_KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "429", "retryAfter": "seconds", "seconds": 1.0},
    {"kind": "429", "retryAfter": "http-date", "seconds": 2.0},
    {"kind": "429"},
    {"kind": "500"},
    {"kind": "502"},
    {"kind": "503"},
    {"kind": "503", "retryAfter": "seconds", "seconds": 2.0},
    {"kind": "504", "acts": True},
    {"kind": "reset-before"},
    {"kind": "reset-after"},
    {"kind": "truncated"},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 200},
    {"kind": "latency", "seconds": 4.0},  # it acts after the agent's timeout
    {"kind": "lagging-reads", "seconds": 3.0},
    {"kind": "revoke-token"},
)


def fault_rules(seed: int) -> list[dict[str, Any]]:
    """Rules for `/sandbox/faults`. Together they affect a quarter of the first 4,000 calls, each kind with its own
    weight."""
    chance = Random(seed)
    kinds = [dict(kind) for kind in _KINDS]
    chance.shuffle(kinds)
    weights = [chance.uniform(0.5, 1.5) for _ in kinds]
    rates = [_SHARE * weight / sum(weights) for weight in weights]
    return [
        {"operation": "*", "rate": round(rate, 4), "count": max(1, round(rate * _CALLS)), **kind}
        for kind, rate in zip(kinds, rates, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputResult:
    """The end of a run. `seconds` are virtual."""

    seconds: float
    calls: int
    done: int
    doubled: int  # references with more than one start
    left: int  # dossiers that still exist
    wrong: list[str]
    history: list[str]


def run_with_faults(seed: int, requests: int = 200) -> ThroughputResult:
    """Settle a batch of requests, with faults until they are used up."""
    with temporary_folder() as folder:
        config = SandboxConfig(verification_delay=(1.0, 3.0), seed=seed)
        stage = Simulation(folder, seed, config=config, settings={"request_timeout": TIMEOUT})
        return run_virtual(_run(stage, requests))


def write(folder: Path, requests: int) -> None:
    """Write upload requests with their pictures."""
    for number in range(requests):
        name = f"r-{number}"
        write_atomically(folder / "specs" / f"{name}.yaml", upload(name, write_pictures(folder / "images", name, name)))


def timed(folder: Path, url: str, seed: int, requests: int, store: Mapping[str, str]) -> float:
    """Real seconds until `run --once` has settled the requests. NaN when it failed. `store`: settings of the store."""
    for name in ("specs", "images"):
        (folder / name).mkdir(parents=True)
    write(folder, requests)
    body = json.dumps(fault_rules(seed)).encode()
    urllib.request.urlopen(urllib.request.Request(url + "/sandbox/faults", data=body, method="POST")).close()
    given = {**store, "REQUEST_TIMEOUT": f"{TIMEOUT:.0f}s", "POLL_INTERVAL": "5s", "LOG_LEVEL": "error"}
    settings = environment(folder, url, **given)
    began = monotonic()
    command = [*COMMAND, "run", "--once", "--timeout", "10m"]
    ended = subprocess.run(command, env=settings, cwd=folder, capture_output=True, check=False)
    return monotonic() - began if ended.returncode == 0 else float("nan")


async def _run(stage: Simulation, requests: int) -> ThroughputResult:
    write(stage.folder, requests)
    stage.faults.add(Rule.parse(rule) for rule in fault_rules(stage.seed))
    async with stage.running():
        await stage.until(lambda: stage.records() and not stage.moving(), patience=_PATIENCE, every=0.25)
        seconds = stage.clock.now() - START
        stage.faults.clear()
        await stage.settle()
    report = stage.world.ledger.report()
    starts = [sum(process["starts"] for process in dossier["processes"]) for dossier in report["dossiers"]]
    return ThroughputResult(
        seconds=seconds,
        calls=sum(report["calls"].values()),
        done=sum(record.outcome == "accepted" for record in stage.records().values()),
        doubled=sum(count > 1 for count in starts),
        left=sum(dossier["deletedAt"] is None for dossier in report["dossiers"]),
        wrong=[str(one) for one in stage.violations(settled=True)],
        history=stage.log,
    )
