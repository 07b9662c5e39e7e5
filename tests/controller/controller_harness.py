"""Parts of an agent: admission without the reconciler, and a reconciler with an interpreter that a test can change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.admission import Admission, AdmissionRules, SyncResult
from agent.assure.account import client_config
from agent.assure.client import AssureClient
from agent.assure.document_type_cache import DocumentTypeCache
from agent.controller.interpreter import Interpreter
from agent.controller.reconciler import Reconciler
from agent.controller.result_poller import ResultPoller
from agent.controller.start_budget import StartBudget
from agent.core.assure_types import DocumentKey, DocumentType
from agent.core.document_types import Resolution, resolve
from agent.core.effect import Effect
from agent.core.observations import Answered
from agent.core.policy import Policy
from agent.core.record import Record
from agent.core.step import Step
from agent.source.folder import Folder
from agent.source.folder_source import FolderSource
from agent.source.git_provenance import GitCheckout
from agent.source.images import ImageFolder
from agent.store import open_store
from agent.store.contract import Store
from agent.store.sqlite.store import SqliteStore
from tests.support.clock import VirtualClock
from tests.support.environment import World
from tests.support.held_time import asking, holding
from tests.support.stores import at_once
from verification.builders import records
from verification.builders.request_files import capture, upload, write, write_pictures

ACCOUNT = "a client at a sandbox"
INTERVAL = 5.0
Perform = Callable[[Effect], Awaitable[Answered]]


# -- the drive -----------------------------------------------------------------------------------------------------


class Bent:
    """An interpreter with the hook `around(effect, perform)`. Keeps the order of the requested effects."""

    def __init__(self, perform: Perform, around: Callable[[Effect, Perform], Awaitable[Answered]]) -> None:
        self._perform = perform
        self._around = around
        self.effects: list[Effect] = []

    async def perform(self, effect: Effect) -> Answered:
        self.effects.append(effect)
        return await self._around(effect, self._perform)


async def straight(effect: Effect, perform: Perform) -> Answered:
    return await perform(effect)


@dataclass
class Drive:
    """A reconciler on a real store, against the sandbox. A poller delivers the finished requests each INTERVAL."""

    world: World
    store: Store
    reconciler: Reconciler
    interpreter: Bent
    steps: list[Step] = field(default_factory=list)
    bugs: list[tuple[str, Exception]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)  # uids of records that changed in the store meanwhile

    def record(self, name: str) -> Record:
        with self.world.reading() as reading:
            found = reading.get(uid(name))
        assert found is not None
        return found


def uid(name: str) -> str:
    return f"uid-of-{name}"


def capture_record(name: str, **desired: Any) -> Record:
    """A capture request: it needs no images."""
    return records.unadmitted(records.capture(**desired), uid=uid(name), name=name, agent="tests")


@contextlib.asynccontextmanager
async def driving(
    world: World,
    around: Callable[[Effect, Perform], Awaitable[Answered]] = straight,
    concurrency: int = 64,
    seen: Callable[[Step], None] = lambda step: None,
    failed: Callable[[str, Exception], None] = lambda uid, error: None,
) -> AsyncIterator[Drive]:
    """The parts of a reconciler. The test runs it."""
    store = await open_store(world.settings(), ACCOUNT)
    client = AssureClient(client_config(world.settings()), world.clock)
    pictures, budget = ImageFolder(world.images, 10_000), StartBudget(0, store, world.clock)
    catalogue = DocumentTypeCache(client, store, world.clock)
    plain = Interpreter(client, pictures, catalogue, budget, world.clock, half, store.claims.keyring)
    interpreter = Bent(plain.perform, around)
    steps: list[Step] = []
    bugs: list[tuple[str, Exception]] = []
    moved: list[str] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        seen(step)

    def bug(uid: str, error: Exception) -> None:
        bugs.append((uid, error))
        failed(uid, error)

    reconciler = Reconciler(
        store,
        interpreter,  # type: ignore[arg-type]
        world.clock,
        Policy(),
        concurrency,
        half,
        on_step,
        bug,
        on_moved=moved.append,
    )
    observer = ResultPoller(store, client, reconciler, world.clock)
    ended = asyncio.Event()

    async def observing() -> None:
        while not ended.is_set():
            await world.clock.wait(ended, INTERVAL)
            if not ended.is_set():
                await observer.poll()

    try:
        with (
            world.clock.watch(lambda: len(reconciler._driven) + len(reconciler._committing)),
            holding(world.clock, observer, "poll"),
            asking(world.clock),
        ):
            polling = asyncio.create_task(observing())
            try:
                yield Drive(world, store, reconciler, interpreter, steps, bugs, moved)
            finally:
                ended.set()
                await polling
    finally:
        await catalogue.aclose()
        await client.aclose()
        await store.aclose()


def half() -> float:
    return 0.5


# -- the source ----------------------------------------------------------------------------------------------------


class Types:
    """Assure's document types, set by a test. None: the list is unavailable."""

    def __init__(self) -> None:
        self.rows: tuple[DocumentType, ...] | None = ()
        self.asked: list[DocumentKey | int] = []

    async def resolve(self, wanted: DocumentKey | int) -> Resolution | None:
        self.asked.append(wanted)
        return None if self.rows is None else resolve(self.rows, wanted)

    async def listed_ids(self) -> frozenset[int] | None:
        return frozenset(row.id for row in self.rows) if self.rows else None


class ControllerHarness:
    """Admission of a folder to a real store. No record is processed, so records show what was admitted."""

    def __init__(self, folder: Path, clock: VirtualClock, store: SqliteStore, hosts: frozenset[str]) -> None:
        self.folder, self.clock, self.store = folder, clock, store
        self.specs, self.images = folder / "specs", folder / "images"
        self.steps: list[Step] = []
        idle: Any = None
        self.types = Types()
        self.reconciler = Reconciler(store, idle, clock, Policy(), 1, half, self.steps.append)
        self.restart(hosts)

    def restart(self, hosts: frozenset[str] = frozenset()) -> None:
        """Forget the memory of the source, as a restart does."""
        rules = AdmissionRules(
            source="default", agent_id="tests", images=ImageFolder(self.images, 10_000), redirect_hosts=hosts
        )
        checkout = GitCheckout(self.specs, timeout=10.0)  # the machine may be busy
        source = FolderSource(Folder(self.specs, settle=0), checkout)
        self.admission = Admission(source, rules, self.store, self.reconciler, self.store.keys, self.types, self.clock)

    async def scan(self, times: int = 1) -> SyncResult:
        """Scan several times. Returns the last result."""
        for _ in range(times):
            synced = await self.admission.scan()
        return synced

    def upload(self, name: str, file: str = "", **more: Any) -> Path:
        return write(self.specs / (file or f"{name}.yaml"), upload(name, write_pictures(self.images, name), **more))

    def capture(self, name: str, **more: Any) -> Path:
        return write(self.specs / f"{name}.yaml", capture(name, **more))

    def find(self, name: str) -> Record | None:
        return at_once(self.store.get(self.store.keys.uid("default", name)))

    def record(self, name: str) -> Record:
        found = self.find(name)
        assert found is not None, f"{name} was not admitted"
        return found

    def outcomes(self, *names: str) -> list[str | None]:
        return [self.record(name).outcome for name in names]


@contextlib.asynccontextmanager
async def desk_at(folder: Path, hosts: frozenset[str] = frozenset()) -> AsyncIterator[ControllerHarness]:
    """A desk with an empty folder."""
    for name in ("specs", "images", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    store = SqliteStore(folder / "state" / "agent.db", ACCOUNT)
    try:
        yield ControllerHarness(folder, VirtualClock(), store, hosts)
    finally:
        store.close()
