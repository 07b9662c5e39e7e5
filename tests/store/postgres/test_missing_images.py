"""An image that one replica does not find proves nothing: another one may have it."""

from pathlib import Path
from typing import Any

import pytest

from agent.admission import Admission, AdmissionRules
from agent.admission.source_turn import SourceTurn
from agent.controller.interpreter import Interpreter
from agent.controller.missing_images import PAUSE
from agent.controller.reconciler import Reconciler
from agent.controller.start_budget import StartBudget
from agent.core.answer import Busy, Evidence
from agent.core.policy import Policy
from agent.core.record import HoldReason, Record
from agent.source.folder import Folder
from agent.source.folder_source import FolderSource
from agent.source.images import ImageFolder
from tests.controller.controller_harness import Types, half
from tests.support.clock import VirtualClock
from verification.builders.request_files import upload, write, write_pictures

from .test_source_turn import Replica, replicas


class Remote:
    """Counts the dossiers that a replica wants to create, and creates none."""

    def __init__(self) -> None:
        self.asked = 0

    async def create_dossier(self, reference: str) -> Busy:
        self.asked += 1
        return Busy(evidence=Evidence())

    async def list_dossiers(self) -> Busy:
        return Busy(evidence=Evidence())


class Driver:
    """The reconciler of a replica with an images folder of its own."""

    def __init__(self, replica: Replica, images: Path, clock: VirtualClock) -> None:
        self.store, self.clock, self.remote, self.images = replica.store, clock, Remote(), images
        remote: Any = self.remote
        budget, seals = StartBudget(0, self.store, clock), self.store.claims.keyring
        interpreter = Interpreter(remote, ImageFolder(images, 10_000), Types(), budget, clock, half, seals)
        self.reconciler = Reconciler(self.store, interpreter, clock, Policy(), 1, half)

    async def drive(self) -> Record:
        """Work on the request until it waits, if it is due for this replica."""
        self.clock._time += PAUSE
        for record in await self.store.claim(self.clock.now(), 10, set(self.reconciler._queue._parked_until_cleared)):
            await self.reconciler._run_until_waiting(record)
        await self.store.release([])
        (uid,) = await self.store.open_requests()
        found = await self.store.get(uid)
        assert found is not None
        return found


@pytest.fixture
async def pair(database: str, tmp_path: Path) -> Any:
    """Two replicas that have admitted one upload, each with an empty folder of images. The files are in `admitted`."""
    sources = [FolderSource(Folder(tmp_path / "specs", settle=0)) for _ in range(2)]
    write(tmp_path / "specs" / "a.yaml", upload("a", write_pictures(tmp_path / "admitted", "a")))
    clock = VirtualClock()
    async with replicas(database, tmp_path, sources) as found:
        drivers = [Driver(replica, tmp_path / f"images-{number}", clock) for number, replica in enumerate(found)]
        for driver in drivers:
            driver.images.mkdir()
        first = found[0]
        rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(tmp_path / "admitted", 10_000))
        turn = SourceTurn("default", first.source, first.store)
        records, keys = drivers[0].reconciler, first.store.keys
        assert await Admission(first.source, rules, first.store, records, keys, Types(), clock, turn=turn).scan()
        yield drivers


async def test_a_file_that_one_replica_lacks_does_not_hold_the_request(pair: list[Driver]) -> None:
    lacking, having = pair
    write_pictures(having.images, "a")
    for _ in range(9):
        found = await lacking.drive()
        assert found.hold is None
        assert lacking.reconciler._queue._parked_until_cleared  # another replica may claim it
        lacking.reconciler._queue._parked_until_cleared.clear()
    assert not lacking.remote.asked
    await having.drive()
    assert having.remote.asked == 1


async def test_a_file_that_all_replicas_lack_holds_the_request(pair: list[Driver]) -> None:
    first, second = pair
    for _ in range(4):
        for driver in (first, second):
            driver.reconciler._queue._parked_until_cleared.clear()
            found = await driver.drive()
    assert found.hold is not None
    assert found.hold.reason is HoldReason.IMAGES_CHANGED


async def test_a_file_with_other_bytes_holds_the_request_at_once(pair: list[Driver]) -> None:
    first, _ = pair
    write_pictures(first.images, "a", "other bytes")
    found = await first.drive()
    assert found.hold is not None
