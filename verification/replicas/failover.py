"""A failover that loses transactions, under several agents: nothing is started twice, and nothing is left.

Assure keeps a trace of each started verification meanwhile, because every request has a retention. Without such a
trace, only the approval of the operator decides whether a request is verified again (docs/limits.md).
"""

import asyncio
from collections import Counter
from random import Random

from agent.core.record import Outcome, Phase
from agent.sandbox import SandboxConfig
from verification.builders.request_files import request_file, upload_spec, write_atomically, write_pictures
from verification.replicas.plan import undisturbed
from verification.replicas.process import ProcessLoop
from verification.replicas.simulation import ReplicaSimulation
from verification.temp_stores import temporary_folder
from verification.virtual_time import Deadlock, run_virtual

_SETTINGS = {"scan_interval": 5.0, "poll_interval": 10.0}
_REQUESTS = 20
_RETENTION = 900.0  # seconds
_APPROVAL = 120.0  # seconds after the failover, when the operator approves
_PATIENCE = 7200.0  # virtual seconds


async def _write_requests(stage: ReplicaSimulation, chance: Random) -> None:
    """Write files until after the failover."""
    for number in range(_REQUESTS):
        name = f"r{number}"
        marker = f"sandbox-outcome=accepted sandbox-delay={chance.choice((0, 2, 20))}s {name}"
        spec = upload_spec(write_pictures(stage.images, name, marker), retention=f"{_RETENTION:.0f}s")
        write_atomically(stage.specs / f"{name}.yaml", request_file(name, spec))
        await asyncio.sleep(chance.choice((0.0, 0.3, 6.0)))


async def _fail_over(stage: ReplicaSimulation, chance: Random) -> None:
    """Lose some seconds of transactions, and sometimes replicas with them, which then do not answer the roll call."""
    await asyncio.sleep(chance.uniform(1.0, 30.0))
    fail_over = stage.database.snapshot()
    await asyncio.sleep(chance.choice((0.2, 3.0, 20.0)))
    away = True
    stage.network.away = lambda: away
    for machine in stage.machines:
        if chance.random() < 0.3:
            stage.kill(machine)
    await asyncio.sleep(chance.choice((0.0, 2.0, 60.0)))
    fail_over()
    stage.log_event("failover")
    away = False


async def _life(stage: ReplicaSimulation, chance: Random, counts: Counter[str]) -> None:
    async with asyncio.timeout(_PATIENCE), stage.running(lambda: 5.0):
        writing = asyncio.create_task(_write_requests(stage, chance))
        await _fail_over(stage, chance)
        await writing
        await asyncio.sleep(_APPROVAL)
        if stage.recovering():
            counts["recoveries"] += 1
            await stage.command("approve")
        await stage.until(lambda: len(stage.records()) == _REQUESTS and not stage.moving(), every=30.0)
        await stage.settle()


def run_failover(seed: int) -> tuple[list[str], Counter[str]]:
    """Run one life. Returns its violations, and counts."""
    chance, counts, wrong = Random(f"failover/{seed}"), Counter[str](failovers=1), list[str]()
    with temporary_folder() as folder:
        config = SandboxConfig(verification_delay=(2.0, 20.0), repeated_starts="accept", seed=seed)
        stage = ReplicaSimulation(folder, seed, undisturbed(3), config=config, settings=_SETTINGS)
        try:
            run_virtual(_life(stage, chance, counts), ProcessLoop)
        except (Exception, Deadlock) as error:
            wrong.append(f"I1 the life never settles ({type(error).__name__} {error})")
        wrong += [*_judged(stage)]
        if wrong:
            wrong += stage.log[-100:]
    return wrong, counts


def _judged(stage: ReplicaSimulation) -> list[str]:
    wrong = []
    starts: Counter[str] = Counter()
    for dossier in stage.world.ledger.report()["dossiers"]:
        reference = str(dossier["externalReference"])
        starts[reference.rpartition("-")[0]] += sum(process["starts"] for process in dossier["processes"])
        if dossier["deletedAt"] is None:
            wrong.append(f"I3 not deleted {reference}")
    wrong += [f"I2 started {count} times {one}" for one, count in starts.items() if count > 1]
    for name, record in stage.records().items():
        if (record.phase, record.outcome) != (Phase.DONE, Outcome.ACCEPTED):
            wrong.append(f"I1 {name} is {record.phase} with {record.outcome}")
    return wrong
