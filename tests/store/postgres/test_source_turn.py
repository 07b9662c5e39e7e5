"""Of the replicas on one database, one acts on the source. The others stand by, and continue when it is gone."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.admission import Admission, AdmissionRules
from agent.admission.source_turn import SourceTurn
from agent.controller.reconciler import Reconciler
from agent.core.errors import Fenced
from agent.core.policy import Policy
from agent.core.record import Outcome
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.folder import Folder
from agent.source.folder_source import FolderSource
from agent.source.images import ImageFolder
from agent.store.postgres.store import PostgresStore
from tests.controller.controller_harness import Types, half
from tests.support.clock import VirtualClock
from tests.support.revisions import FakeGitSource
from verification.builders.request_files import capture, write

ACCOUNT = "client at https://assure.example"
NAMES = ("a", "b", "c")


@dataclass
class Replica:
    """One replica: its store, its source, and what it reported."""

    store: PostgresStore
    source: Any
    admission: Admission
    lags: list[bool] = field(default_factory=list)

    async def scan(self, times: int = 1) -> Any:
        """Scan several times. Returns the last result; None if the replica stands by."""
        for _ in range(times):
            result = await self.admission.scan()
        return result

    async def publish(self, commit: str) -> None:
        """Let the checkout of this replica be this revision."""
        self.source.head = commit
        self.source.refresh(None, None)

    async def open_names(self) -> set[str]:
        """The names of the requests that are not done."""
        records = await self.store.get_many(await self.store.open_requests())
        return {record.name or "" for record in records.values()}

    async def outcome(self, name: str) -> Outcome | None:
        record = await self.store.get(self.store.keys.uid("default", name))
        assert record is not None
        return record.outcome

    async def die(self) -> None:
        """Let another replica remove the lease of this one."""
        await self.store._pool.execute("DELETE FROM replicas WHERE epoch = $1", self.store._owner.epoch)


@contextlib.asynccontextmanager
async def replicas(database: str, folder: Path, sources: Sequence[Any]) -> AsyncIterator[list[Replica]]:
    """A replica for each of these sources."""
    clock, found = VirtualClock(), []
    async with contextlib.AsyncExitStack() as stack:
        for number, source in enumerate(sources):
            settings = Settings(
                state_url=database,
                state_dir=folder / f"state-{number}",
                key_file=folder / "agent.key",
                replica_lease=120.0,
            )
            store = await PostgresStore.open(settings, ACCOUNT)
            stack.push_async_callback(store.aclose)
            idle: Any = None
            reconciler = Reconciler(store, idle, clock, Policy(), 1, half)
            rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(folder / "images", 10_000))
            lags: list[bool] = []
            turn = SourceTurn("default", source, store, lags.append)
            admission = Admission(source, rules, store, reconciler, store.keys, Types(), clock, turn=turn)
            found.append(Replica(store, source, admission, lags))
        yield found


@pytest.fixture
async def pair(database: str, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica, Path]]:
    """Two replicas with one folder of three requests. The first one acted on it."""
    specs = tmp_path / "specs"
    for name in NAMES:
        write(specs / f"{name}.yaml", capture(name))
    sources = [FolderSource(Folder(specs, settle=0)) for _ in range(2)]
    async with replicas(database, tmp_path, sources) as (first, second):
        assert await first.scan() is not None
        yield first, second, specs


@pytest.fixture
async def git(database: str, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica, str, str]]:
    """Two replicas with checkouts. The first one acted on the newer of two revisions; the second one has the older."""
    sources = [FakeGitSource(tmp_path / f"checkout-{number}") for number in range(2)]
    for source in sources:
        older = source.push({f"{name}.yaml": capture(name) for name in NAMES[:2]})
        newer = source.push({f"{name}.yaml": capture(name) for name in NAMES})
    async with replicas(database, tmp_path, sources) as (first, second):
        await first.publish(newer)
        await second.publish(older)
        assert await first.scan() is not None
        yield first, second, older, newer


async def test_a_replica_that_stands_by_acts_on_nothing(pair: tuple[Replica, Replica, Path]) -> None:
    first, second, specs = pair
    write(specs / "d.yaml", capture("d"))
    (specs / "a.yaml").unlink()
    assert await second.scan(3) is None
    assert second.admission.stands_by
    assert await second.open_names() == set(NAMES)
    await first.scan()
    assert await second.open_names() == {*NAMES, "d"}


async def test_a_take_over_admits_at_once_and_withdraws_only_after_two_scans_of_its_own(
    pair: tuple[Replica, Replica, Path],
) -> None:
    first, second, specs = pair
    (specs / "a.yaml").unlink()
    await first.scan()  # absent once
    await second.scan()
    await first.die()
    write(specs / "d.yaml", capture("d"))
    assert await second.scan() is not None
    assert await second.open_names() == {*NAMES, "d"}  # absent once again
    await second.scan()
    assert await second.outcome("a") is not None
    with pytest.raises(Fenced):
        await first.scan()


async def test_a_scan_that_outlives_its_turn_writes_nothing(pair: tuple[Replica, Replica, Path]) -> None:
    """The turn moves only after the life of its holder, and each write of the holder needs this life."""
    first, second, specs = pair
    write(specs / "d.yaml", capture("d"))
    scanned = first.source.scan()

    class Slow(FolderSource):
        def scan(self) -> Any:
            return scanned

    first.admission._source = Slow(Folder(specs, settle=0))
    hold = first.admission._turn.hold  # type: ignore[union-attr]

    async def held_then_died() -> bool:
        held = await hold()
        await first.die()
        return held

    first.admission._turn.hold = held_then_died  # type: ignore[union-attr,method-assign]
    with pytest.raises(Fenced):
        await first.scan()
    assert await second.open_names() == set(NAMES)


async def test_a_checkout_that_lags_acts_on_nothing_and_gives_the_turn_back(
    git: tuple[Replica, Replica, str, str],
) -> None:
    first, second, _, newer = git
    await first.die()
    assert await second.scan(3) is None  # three scans would withdraw `c`
    assert second.lags == [True] * 3
    assert await second.open_names() == set(NAMES)
    assert await second.store._pool.fetchval("SELECT epoch FROM duties WHERE name = 'source/default'") is None
    await second.publish(newer)
    assert await second.scan() is not None
    assert second.lags[-1] is False


async def test_a_history_that_was_replaced_is_acted_on_only_after_approval(
    git: tuple[Replica, Replica, str, str],
) -> None:
    first, second, _, _ = git
    replaced = second.source.push({"a.yaml": capture("a"), "z.yaml": capture("z")}, descends=False)
    await second.publish(replaced)
    await first.die()
    assert await second.scan(2) is None
    assert await second.open_names() == set(NAMES)
    await second.store.remember(MetaKey.REVISION_APPROVED, replaced)
    assert await second.scan() is not None
    assert await second.open_names() == {*NAMES, "z"}


async def test_a_replica_that_cannot_read_the_source_gives_the_turn_back(
    git: tuple[Replica, Replica, str, str],
) -> None:
    first, second, _, newer = git
    first.source.published = None
    assert (await first.scan()).scan.error is not None
    await second.publish(newer)
    assert await second.scan() is not None
    assert await first.scan() is None
