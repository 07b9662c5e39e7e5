"""The simulation of replicas is sensitive: it detects an agent, or a database, that breaks a rule."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from agent.core.record import Phase
from agent.sandbox import SandboxConfig
from verification.builders.request_files import request_file, upload_spec, write_atomically, write_pictures
from verification.replicas.database import DatabaseModel
from verification.replicas.failover import run_failover
from verification.replicas.machine import StoppingDeadline, VirtualKernelTimer
from verification.replicas.plan import undisturbed
from verification.replicas.process import ProcessLoop, current_process
from verification.replicas.simulation import ReplicaSimulation
from verification.virtual_time import run_virtual

_START = 4  # of the calls that change something: after the dossier, the process and the images
_STOPPED = 100.0  # seconds; the other replica starts the verification after 91 s
_VERIFIED = "50s"  # so it is not done then


def stopped_before_its_start(folder: Path) -> ReplicaSimulation:
    """Two replicas. One of them is stopped between the check of its lease and the first byte of its start."""
    config = SandboxConfig(verification_delay=(50.0, 50.0), repeated_starts="accept")
    stage = ReplicaSimulation(folder, 1, undisturbed(2), config=config, settings={"poll_interval": 10.0})
    plain, calls = StoppingDeadline.begin, list[int]()

    def begin(deadline: StoppingDeadline, give_up: Callable[[], None]) -> bool:
        timely = plain(deadline, give_up)
        calls.append(1)
        if len(calls) == _START:
            stage.stop(int(current_process().name.partition("/")[0]), _STOPPED)
        return timely

    async def life() -> None:
        images = write_pictures(stage.images, "r", f"sandbox-outcome=accepted sandbox-delay={_VERIFIED} r")
        write_atomically(stage.specs / "r.yaml", request_file("r", upload_spec(images)))
        async with asyncio.timeout(1000.0), stage.running():
            await stage.until(lambda: [one.phase for one in stage.records().values()] == [Phase.DONE])
            await asyncio.sleep(_STOPPED)

    with mock.patch.object(StoppingDeadline, "begin", begin):
        run_virtual(life(), ProcessLoop)
    return stage


def test_a_stopped_replica_sends_no_start_after_its_lease(tmp_path: Path) -> None:
    """[I2] [P6] [P7] The timer of the kernel ends it. The other replica starts the verification once."""
    stage = stopped_before_its_start(tmp_path)
    assert stage.violations(settled=True) == []
    assert stage.misfortunes() == {"stops": 1, "ended by its timer": 1}


def test_a_replica_without_the_timer_is_noticed(tmp_path: Path) -> None:
    """[I2] It sends the start that the other replica has repeated."""
    with mock.patch.object(VirtualKernelTimer, "arm", lambda *_: None):
        stage = stopped_before_its_start(tmp_path)
    assert "started twice" in {one.message for one in stage.violations(settled=True)}


def test_a_failover_without_a_roll_call_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """[I3] The replicas continue with a store that lacks transactions."""
    assert not run_failover(1)[0]
    plain = DatabaseModel.renew_replica
    monkeypatch.setattr(DatabaseModel, "_unsettled", lambda _: False)
    monkeypatch.setattr(DatabaseModel, "renew_replica", lambda *given: plain(*given[:3], None, None))
    assert any("I3 not deleted" in one for one in run_failover(1)[0])
