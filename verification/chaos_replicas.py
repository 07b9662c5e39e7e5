"""Three installed replicas on one database: kills, stops, ends and crashes, while requests arrive.

Each few seconds one replica meets a misfortune: SIGKILL, SIGSTOP for longer than its lease, or SIGTERM. A new replica
takes the place of one that ended. Busy sessions of the server are terminated, and now and then the server crashes. A
share of its answers is lost. The sandbox has faults, and so have the connections to it. Then the faults end, `run
--once` settles the rest, and the common invariants judge database and ledger.
"""

import asyncio
import contextlib
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep

from agent.platform.kernel_timer import EXIT_CODE
from verification.chaos import FAULT_SHARE, Deployment, drop_request, fault_rules, figures, settled
from verification.chaos_database import ChaosDatabase, chaos_database
from verification.database_wire import DatabaseWire
from verification.processes import simulated
from verification.report import Report, progress
from verification.temp_stores import temporary_folder
from verification.unreliable_wire import UnreliableWire

_LEASE = 5.0  # seconds
_PAUSE = 5.0  # seconds between two misfortunes
_MISFORTUNES = ("kill", "kill", "kill", "stop", "end", "sessions", "crash")
_LOST_SHARE = 0.02  # of the statements: the server executes them, and their answers are lost
_FREE_WITHIN = _LEASE + _LEASE / 3 + 1.0  # seconds until the work of a dead replica is free
_START = 60.0  # seconds that the first start may take
_END = 30.0  # seconds that a replica may take to end
_BUSY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = '{}' AND state = 'active' AND pid <> pg_backend_pid()
"""
_ALL = "SELECT 1 FROM replicas"
_LIVING = "SELECT 1 FROM replicas WHERE name LIKE '%:{}'"


@dataclass(slots=True)
class Fleet:
    """The replicas of a deployment, by number."""

    site: Deployment
    database: ChaosDatabase
    wire: DatabaseWire
    running: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    stopped: dict[int, float] = field(default_factory=dict)  # when a stopped replica continues, by `monotonic`
    counts: Counter[str] = field(default_factory=Counter)
    moved: list[float] = field(default_factory=list)  # seconds until the work of a killed replica was free
    wrong: list[str] = field(default_factory=list)
    ending: set[int] = field(default_factory=set)  # replicas that got SIGTERM
    began: dict[int, float] = field(default_factory=dict)  # when each one was started, by `monotonic`

    def fill(self, count: int) -> None:
        """Start a replica in each free place."""
        for number in range(count):
            process = self.running.get(number)
            if process is not None and process.poll() is None:
                continue
            if process is not None and process.returncode == 1 and self._found_no_server(number):
                self.counts["start or end without a server"] += 1  # it says so in one line, and is started again
            elif process is not None and process.returncode == EXIT_CODE:
                self.counts["ended by the kernel"] += 1  # it was stopped between the check of a call and its last byte
            elif process is not None and process.returncode not in (0, -signal.SIGKILL):
                self.wrong.append(f"a replica ended with {process.returncode}: {self._last_error()}")
            self.stopped.pop(number, None)
            self.ending.discard(number)
            own = {"ASSURE_AGENT_STATE_DIR": str(self.site.folder / f"replica-{number}")}
            self.began[number] = monotonic()
            self.running[number] = self.site.started("run", more=own)

    def _found_no_server(self, number: int) -> bool:
        """True if the server gave no answer while this replica began or ended. Otherwise it waits for the server."""
        limited = number in self.ending or monotonic() - self.began[number] < _START
        error = self._last_error()
        return limited and ("cannot be reached" in error or "does not answer" in error)

    def _last_error(self) -> str:
        lines = (self.site.folder / "output").read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith("assure-agent:")), "no error in the output")

    def await_start(self, count: int) -> None:
        """Return when so many replicas have a lease."""
        end = monotonic() + _START
        while monotonic() < end:
            self.fill(count)
            with contextlib.suppress(Exception):  # the tables do not exist yet
                if len(asyncio.run(self.database.execute(_ALL))) >= count:
                    return
            sleep(0.1)
        self.wrong.append("the replicas did not start in time")

    def suffer(self, what: str, chance: Random) -> None:
        """Let one replica, or the server, meet this misfortune."""
        living = [one for one in self.running if one not in self.stopped and self.running[one].poll() is None]
        self.counts[what] += 1
        if what == "sessions":
            asyncio.run(self.database.execute(_BUSY.format(self.database.name)))
        elif what == "crash":
            self.database.crash(away=chance.uniform(0.0, 2.0))
        elif living:
            number = chance.choice(living)
            process = self.running[number]
            if what == "stop":
                process.send_signal(signal.SIGSTOP)
                self.stopped[number] = monotonic() + chance.uniform(1.2, 3.0) * _LEASE
            elif what == "end":
                process.send_signal(signal.SIGTERM)
                self.ending.add(number)
            else:
                process.send_signal(signal.SIGKILL)
                process.wait()
                self._await_removal(process.pid)

    def _await_removal(self, pid: int) -> None:
        began = monotonic()
        while asyncio.run(self.database.execute(_LIVING.format(pid))):
            if monotonic() - began > 4 * _FREE_WITHIN:
                self.wrong.append("the row of a killed replica was not removed")
                return
            sleep(0.1)
        self.moved.append(monotonic() - began)

    def continue_stopped(self) -> None:
        """Continue the replicas whose stop is over."""
        for number in [one for one, until in self.stopped.items() if until <= monotonic()]:
            del self.stopped[number]
            self.running[number].send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End all replicas."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                self.wrong.append("a replica did not end after SIGTERM")
                process.kill()
                process.wait()


def chaos_replicas(
    seed: int,
    *,
    replicas: int,
    misfortunes: int,
    requests: int,
    mutation: str | None = None,
    patient: bool = False,
) -> Report:
    """Run so many replicas through so many misfortunes, while the requests arrive.

    `patient`: do not judge how long the work of a killed replica waits, because the machine may be slow.
    """
    report = Report(f"make chaos STORE=postgres REPLICAS={replicas}: {misfortunes} misfortunes", seed)
    with (
        temporary_folder() as folder,
        chaos_database(folder) as database,
        simulated({"seed": str(seed), "delay": "300ms", "repeated-starts": "accept"}) as url,
        UnreliableWire(url, seed) as wire,
        DatabaseWire(database.socket, seed) as database_wire,
    ):
        database.port = database_wire.port
        for name in ("specs", "images", "state"):
            (folder / name).mkdir(exist_ok=True)
        key = folder / "state" / "agent.key"
        key.write_text(Random(seed).randbytes(32).hex())
        key.chmod(0o600)
        shared = {"KEY_FILE": str(key), "REPLICA_LEASE": f"{_LEASE:.0f}s"}
        site = Deployment(folder, url, wire, mutation, database, shared)
        fleet = Fleet(site, database, database_wire)
        try:
            _run(fleet, report, Random(seed), replicas, misfortunes, requests, patient)
        finally:
            for process in fleet.running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                    process.wait()
    return report


def _run(
    fleet: Fleet, report: Report, chance: Random, replicas: int, misfortunes: int, requests: int, patient: bool
) -> None:
    site, began, dropped = fleet.site, monotonic(), 0
    site.wire.rate = FAULT_SHARE
    fleet.wire.rate = _LOST_SHARE
    fleet.await_start(replicas)
    for number in range(misfortunes):
        while dropped < requests * (number + 1) // misfortunes:
            drop_request(site, chance, dropped)
            dropped += 1
        site.trouble(fault_rules(chance))
        due = monotonic() + _PAUSE
        while monotonic() < due:
            fleet.continue_stopped()
            sleep(0.1)
        fleet.suffer(_MISFORTUNES[number % len(_MISFORTUNES)], chance)
        fleet.fill(replicas)
        progress(f"{number + 1} misfortunes")
    site.trouble([])
    site.wire.rate = fleet.wire.rate = 0.0
    fleet.end()
    report.wrong += [str(one) for one in site.violations(settled=False)]
    end = settled(site)
    report.wrong += [str(one) for one in site.violations(settled=True)] + end + fleet.wrong
    output = (site.folder / "output").read_text()
    if "Traceback" in output:
        report.wrong.append("a traceback in the output: " + output[output.index("Traceback") :][:5000])
    late = [one for one in fleet.moved if one > _FREE_WITHIN]
    if late and not fleet.counts["crash"] and not patient:
        report.wrong.append(f"work was free after {max(late):.1f} s, the limit is {_FREE_WITHIN:.1f} s")
    report.rows = [("what", "count"), *figures(site, dropped, misfortunes, monotonic() - began)]
    report.rows.append(("  answers of the database lost", f"{fleet.wire.lost}"))
    report.rows += [(f"  {what}", f"{count}") for what, count in sorted(fleet.counts.items())]
    if moved := sorted(fleet.moved):
        report.rows.append(("work free after a kill, s: p50", f"{moved[len(moved) // 2]:.1f}"))
        report.rows.append(("  p99", f"{moved[min(len(moved) - 1, int(0.99 * len(moved)))]:.1f}"))
        report.rows.append(("  max", f"{moved[-1]:.1f}"))
        report.rows.append(("  limit", f"{_FREE_WITHIN:.1f}"))
