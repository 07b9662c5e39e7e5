"""The installed command against the sandbox in another process: real files, sockets and signals, and `kill -9`.

Request files arrive while the agent is killed at random times and started again. The sandbox has faults, and the
connections to it have faults (`unreliable_wire.py`). Then the faults end, `run --once` settles the rest, and the common
invariants judge store and ledger. The seed determines the draws, but not the moment of a kill.

With `postgres` the store is a database, and its server is killed too, while the agent runs.
"""

import contextlib
import json
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any

from verification.builders.request_files import (
    capture_spec,
    request_file,
    upload_spec,
    write_atomically,
    write_pictures,
)
from verification.builders.settings import environment
from verification.chaos_database import ChaosDatabase, chaos_database
from verification.invariants import Violation, violations
from verification.processes import PROMPT, command, ledger_at, simulated
from verification.report import Report, progress
from verification.temp_stores import temporary_folder
from verification.throughput_under_faults import run_with_faults, timed
from verification.unreliable_wire import FAULTS, UnreliableWire

_AGENT = "chaos"
_OUTCOMES = ("accepted", "rejected", "inconclusive", "failed")
_TROUBLE = ("429", "500", "502", "503", "reset-before", "reset-after", "truncated", "foreign", "html", "revoke-token")
FAULT_SHARE = 0.3  # the share of exchanges with a fault of the connection
_PATIENCE = 300.0  # seconds until the requests must be settled
_START = 60.0  # seconds for a start and the first call, on a machine with other work
_ORPHANS = 90.0  # seconds that the search for possible orphans may take
_KILLS_PER_CRASH = 6  # kills of the agent for each crash of its database


@dataclass(slots=True)
class Deployment:
    """A folder, a simulator at `url`, the agent's environment, and the way from it to the simulator.

    Without `database` the store is a state file.
    """

    folder: Path
    url: str
    wire: UnreliableWire
    mutation: str | None
    database: ChaosDatabase | None
    others: dict[str, str] = field(default_factory=dict)  # settings

    @property
    def environment(self) -> dict[str, str]:
        store = {} if self.database is None else self.database.settings
        given = {**PROMPT, **store, "REQUEST_TIMEOUT": "2s", "AGENT_ID": _AGENT, "LOG_LEVEL": "error", **self.others}
        return environment(self.folder, self.wire.url, **given)

    def violations(self, *, settled: bool) -> list[Violation]:
        """The violations in the store and at the sandbox. No agent runs."""
        if self.database is not None:
            return self.database.violations(self.ledger(), _AGENT, settled=settled)
        return violations(self.folder / "state" / "agent.db", self.ledger(), _AGENT, settled=settled)

    def started(self, *arguments: str, more: Mapping[str, str] = MappingProxyType({})) -> "subprocess.Popen[bytes]":
        """Start the command, with `more` in its environment. Its output goes to a file."""
        log = (self.folder / "output").open("ab")
        with log:
            return subprocess.Popen(
                [*command(self.mutation), *arguments],
                env={**self.environment, **more},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def ledger(self) -> dict[str, Any]:
        """The ledger of the sandbox."""
        return ledger_at(self.url)

    def trouble(self, rules: list[dict[str, Any]]) -> None:
        """Replace the fault rules."""
        for method, body in (("DELETE", None), ("POST", json.dumps(rules).encode())):
            call = urllib.request.Request(self.url + "/sandbox/faults", data=body, method=method)
            urllib.request.urlopen(call).close()


def drop_request(site: Deployment, chance: Random, number: int) -> None:
    """Write one more request file."""
    name = f"r-{number}"
    outcome = chance.choice(_OUTCOMES)
    spec = (
        capture_spec("accepted")
        if chance.random() < 0.2
        else upload_spec(write_pictures(site.folder / "images", name, f"sandbox-outcome={outcome} {name}"))
    )
    write_atomically(site.folder / "specs" / f"{name}.yaml", request_file(name, spec))


def fault_rules(chance: Random) -> list[dict[str, Any]]:
    """Faults on a quarter of the calls."""
    kinds = chance.sample(_TROUBLE, 4)
    rules = [{"operation": "*", "kind": kind, "rate": 0.05} for kind in kinds]
    return [*rules, {"operation": "*", "kind": "latency", "rate": 0.1, "seconds": chance.choice((0.05, 0.4, 2.5))}]


def chaos(
    seed: int,
    *,
    kills: int,
    requests: int | None = None,
    in_trouble: int = 200,
    mutation: str | None = None,
    postgres: bool = False,
) -> Report:
    """Kill the agent this often while requests arrive. Then settle a batch of requests under faults."""
    report = Report(f"make chaos{' STORE=postgres' * postgres}: {kills} kills", seed)
    with (
        temporary_folder() as folder,
        chaos_database(folder) if postgres else contextlib.nullcontext() as database,
        simulated({"seed": str(seed), "delay": "300ms"}) as url,
        UnreliableWire(url, seed) as wire,
    ):
        for name in ("specs", "images"):
            (folder / name).mkdir()
        _run(Deployment(folder, url, wire, mutation, database), report, Random(seed), kills, requests or 3 * kills)
    if in_trouble:
        report.rows += _run_with_faults(report, seed, in_trouble, postgres)
    return report


def _run(site: Deployment, report: Report, chance: Random, kills: int, requests: int) -> None:
    """Kill and start again, then settle. Fill the report."""
    began, dropped, wrong = monotonic(), 0, Counter[str]()
    site.wire.rate = FAULT_SHARE
    for kill in range(kills):
        while dropped < requests * (kill + 1) // kills:
            drop_request(site, chance, dropped)
            dropped += 1
        site.trouble(fault_rules(chance))
        wrong.update(_run_with_kills(site, chance, crash=kill % _KILLS_PER_CRASH == 1))
        wrong.update(str(one) for one in site.violations(settled=False))
        progress(f"{kill + 1} kills")
    site.trouble([])
    site.wire.rate = 0.0
    end = settled(site)
    wrong.update(str(one) for one in site.violations(settled=True))
    report.wrong = [f"{what} ({count} times)" for what, count in wrong.most_common(20)] + end
    output = (site.folder / "output").read_text()
    if "Traceback" in output:
        report.wrong.append("a traceback in the output: " + output[output.index("Traceback") :][:5000])
    if not sum(site.wire.counts[name] for name in FAULTS):
        report.wrong.append("no exchange met a fault of its connection, so this run proves too little")
    report.rows = [("what", "count"), *figures(site, dropped, kills, monotonic() - began)]


def _run_with_faults(report: Report, seed: int, requests: int, postgres: bool) -> list[tuple[str, str]]:
    """Measure a batch of requests with faults on a quarter of the calls."""
    with (
        temporary_folder() as folder,
        chaos_database(folder) if postgres else contextlib.nullcontext() as database,
        simulated({"seed": str(seed)}) as url,
    ):
        seconds = timed(folder, url, seed, requests, {} if database is None else database.settings)
        report.wrong += _violations_after_faults(ledger_at(url), requests)
    virtual = run_with_faults(seed, requests)
    report.wrong += virtual.wrong
    return [
        (f"{requests} requests under faults, seconds", f"{seconds:,.0f}"),
        ("the same on a machine without limits, virtual seconds", f"{virtual.seconds:,.0f}"),
    ]


def _violations_after_faults(ledger: dict[str, Any], requests: int) -> list[str]:
    starts = Counter[str]()
    for dossier in ledger["dossiers"]:
        reference = dossier["externalReference"].rsplit("-", 1)[0]
        starts[reference] += sum(process["starts"] for process in dossier["processes"])
    doubled = sum(count > 1 for count in starts.values())
    left = sum(dossier["deletedAt"] is None for dossier in ledger["dossiers"])
    found = {
        "I1 requests never started": requests - len(+starts),
        "I2 doubled starts": doubled,
        "I3 dossiers left": left,
    }
    return [f"{what} under faults: {count}" for what, count in found.items() if count]


def _run_with_kills(site: Deployment, chance: Random, crash: bool) -> list[str]:
    """Run one life and kill it with `kill -9` after a while of work. Returns what is wrong.

    `crash`: before that, its database crashes.
    """
    process = site.started("run")
    asked = len(site.ledger()["dossiers"])
    began, patience = monotonic(), chance.uniform(0.0, 1.2)
    while monotonic() - began < _START and len(site.ledger()["dossiers"]) == asked and process.poll() is None:
        sleep(0.02)  # nothing was created during the start
    sleep(patience)
    wrong = []
    if crash and site.database is not None:
        site.database.crash(away=chance.uniform(0.0, 2.0))
        sleep(chance.uniform(0.0, 3.0))
        if process.poll() is not None:
            wrong.append(f"the agent ended with {process.returncode} while its database was away")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return wrong


def settled(site: Deployment) -> list[str]:
    """Run `run --once` until all requests are settled and no possible orphan is open."""
    end, code = monotonic() + _PATIENCE, -1
    while monotonic() < end:
        process = site.started("run", "--once", "--timeout", "60s")
        code = process.wait(timeout=120)
        left = [one for one in site.ledger()["dossiers"] if one["deletedAt"] is None]
        if code == 0 and not left:
            return []
        if code == 3 and monotonic() > end - _PATIENCE + _ORPHANS:
            return []
        sleep(1.0)
    return [f"I1 not settled in {_PATIENCE:.0f} s: exit code {code}"]


def figures(site: Deployment, dropped: int, kills: int, seconds: float) -> list[tuple[str, str]]:
    """The rows of the report."""
    ledger = site.ledger()
    starts = sum(process["starts"] for dossier in ledger["dossiers"] for process in dossier["processes"])
    figures = {
        "requests": dropped,
        "kills": kills,
        **({} if site.database is None else {"crashes of the database": site.database.crashes}),
        "calls": sum(ledger["calls"].values()),
        "dossiers": len(ledger["dossiers"]),
        "starts": starts,
        "not deleted": sum(dossier["deletedAt"] is None for dossier in ledger["dossiers"]),
        "exchanges": site.wire.counts["exchanges"],
        **{f"  {name}": site.wire.counts[name] for name in FAULTS},
        "seconds": round(seconds),
    }
    return [(name, f"{count:,}") for name, count in figures.items()]
