"""The circuit breaker of all replicas: what one of them notices, each obeys, and one of them probes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent.assure.circuit_breaker import MAX_TRUSTED_MISSING, MIN_ANSWERS, Cause
from agent.assure.throttle import MISSING_NOT_TRUSTED
from agent.core.answer import Answer, Busy, Done, Evidence, Refused, Unknown
from agent.core.assure_types import ListedDossier
from agent.platform.settings import Settings
from agent.ports import SharedCircuit
from agent.store.postgres.store import PostgresStore
from tests.assure.throttled import Scripted, Throttled, limited

ACCOUNT = "client at https://assure.example"
GONE = Refused(evidence=Evidence(status=404, cause="error-body"))
DOWN = Unknown(evidence=Evidence(status=503, cause="server-error"))
LATER = Busy(evidence=Evidence(status=429, cause="not-now"), retry_after=40.0)
FINE: Done[Any] = Done(value=())


class HandClock:
    """Stands still until the test sets it."""

    confirmed = True

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        end = float("inf") if seconds is None else self.at + seconds
        while not event.is_set() and self.at < end:
            await asyncio.sleep(0.001)


class Replica:
    """A store, and the throttle on it."""

    def __init__(self, store: PostgresStore, clock: HandClock) -> None:
        self.store = store
        self.clock = clock
        calls: tuple[Throttled, Scripted, list[Any]] = limited(FINE, clock, shared=store.circuit)
        self.calls, self.remote, self.reported = calls
        self.throttle = self.calls.throttle
        self.tasks: list[asyncio.Task[None]] = []

    async def poll(self) -> None:
        """What `SharedWatch` does once a second, after this replica has written its own changes."""
        assert self.throttle._shared is not None
        await self.throttle._shared.write()
        self.throttle.apply_shared((await self.store.shared_state()).circuit)

    async def reads(self, answer: Answer[Any], *dossiers: str) -> list[Answer[Any]]:
        self.remote.answer = answer
        return [await self.calls.read_dossier(one) for one in dossiers]

    @property
    def open_for(self) -> Cause | None:
        return None if self.throttle.opened is None else self.throttle.opened.cause


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def replicas(database: str, tmp_path: Path, clock: HandClock) -> AsyncIterator[list[Replica]]:
    """Three replicas on one database, each with a folder of its own."""
    found = []
    for number in range(3):
        given = Settings(state_url=database, state_dir=tmp_path / f"{number}", key_file=tmp_path / "agent.key")
        found.append(Replica(await PostgresStore.open(given, ACCOUNT), clock))
    yield found
    for one in found:
        await one.store.aclose()


@asynccontextmanager
async def probing(*replicas: Replica) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.throttle.run_probes()) for one in replicas]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def probed(replicas: list[Replica], clock: HandClock, answer: Answer[Any]) -> list[int]:
    """The calls of each replica for the probe that is due now."""
    opened = replicas[0].throttle.opened
    assert opened is not None
    for one in replicas:
        one.remote.answer, one.remote.calls = answer, []
    async with probing(*replicas):
        await asyncio.sleep(0)  # all of them wait for the probe
        clock.at = opened.probe_at + 0.1
        while not any(one.remote.calls for one in replicas) or any(one.throttle.probing for one in replicas):
            await asyncio.sleep(0.001)
    return [len(one.remote.calls) for one in replicas]


async def test_an_outage_that_one_notices_stops_all_and_one_probe_ends_it(
    replicas: list[Replica], clock: HandClock
) -> None:
    first, second, third = replicas
    await first.reads(DOWN, *["D1"] * MIN_ANSWERS)
    assert [one.open_for for one in replicas] == [Cause.OUTAGE, None, None]
    for one in replicas:
        await one.poll()
    assert [one.open_for for one in replicas] == [Cause.OUTAGE] * 3
    assert [one.reported[-1].cause for one in replicas] == [Cause.OUTAGE] * 3
    assert [type(answer) for answer in await third.reads(FINE, "D1")] == [Busy]
    assert third.remote.calls == []

    assert sorted(await probed(replicas, clock, DOWN)) == [0, 0, 2]
    for _ in range(2):
        for one in replicas:
            await one.poll()
    assert {one.throttle.opened for one in replicas} == {first.throttle.opened}
    assert first.throttle.opened is not None
    assert first.throttle.opened.interval == 2.0

    assert sorted(await probed(replicas, clock, FINE)) == [0, 0, 1]
    for _ in range(2):
        for one in replicas:
            await one.poll()
    assert [one.open_for for one in replicas] == [None] * 3
    assert [one.reported[-1] for one in replicas] == [None] * 3
    assert await second.reads(FINE, "D1") == [FINE]


async def test_a_due_probe_is_taken_once(replicas: list[Replica]) -> None:
    circuit = SharedCircuit(cause="outage", since=1.0, interval=10.0, probe_at=2.0)
    await replicas[0].store.circuit.open(circuit, urgent=False)
    takes = [one.store.circuit.take_probe(circuit, 3.0, 13.0) for one in replicas]
    assert sorted(await asyncio.gather(*takes)) == [False, False, True]


async def test_a_pause_that_one_is_told_holds_for_all(replicas: list[Replica], clock: HandClock) -> None:
    await replicas[0].reads(LATER, "D1")
    for one in replicas:
        await one.poll()
    assert [one.throttle.is_closed(clock.now()) for one in replicas] == [True] * 3
    clock.at += 39.0
    assert [type(answer) for answer in await replicas[2].reads(FINE, "D1")] == [Busy]
    clock.at += 2.0
    assert await replicas[2].reads(FINE, "D1") == [FINE]


async def test_five_404s_are_trusted_over_all_replicas(replicas: list[Replica]) -> None:
    """[I1] A wrong account must not cost five in each replica. No poll was between them."""
    answers = [
        answer
        for number in range(MAX_TRUSTED_MISSING + 1)
        for answer in await replicas[number % 3].reads(GONE, f"D{number}")
    ]
    assert answers[:-1] == [GONE] * MAX_TRUSTED_MISSING
    assert isinstance(answers[-1], Busy)
    assert answers[-1].evidence.cause == MISSING_NOT_TRUSTED
    assert sorted(str(one.open_for) for one in replicas) == ["None", "None", "missing"]
    for answer in await replicas[0].reads(GONE, "D9"):  # in flight at another replica
        assert isinstance(answer, Busy)


async def test_a_dossier_that_one_finds_proves_the_account_for_all(replicas: list[Replica]) -> None:
    await replicas[0].reads(GONE, "D1", "D2", "D3")
    await replicas[1].poll()
    assert await replicas[1].reads(FINE, "D4") == [FINE]
    await replicas[1].poll()
    assert await replicas[2].reads(GONE, "D5", "D6", "D7", "D8", "D9") == [GONE] * 5
    assert [one.open_for for one in replicas] == [None] * 3


async def test_any_replica_closes_a_circuit_of_missing_dossiers(replicas: list[Replica], clock: HandClock) -> None:
    first, second, _ = replicas
    await first.reads(GONE, *[f"D{number}" for number in range(MAX_TRUSTED_MISSING + 1)])
    await first.poll()
    await second.poll()
    assert second.open_for is Cause.MISSING
    found = [await probed([second], clock, Done(value=(ListedDossier(dossier_id="D1", reference="aa-tests-"),)))]
    assert found == [[1]]
    for one in (second, first):
        await one.poll()
    assert [one.open_for for one in replicas] == [None] * 3


async def test_the_confirmation_of_the_operator_holds_for_a_replica_that_begins_later(
    replicas: list[Replica], clock: HandClock
) -> None:
    first, second, third = replicas
    await first.reads(GONE, *[f"D{number}" for number in range(MAX_TRUSTED_MISSING + 1)])
    await first.poll()
    first.throttle.trust_missing()
    for one in replicas:
        await one.poll()
    assert [one.open_for for one in replicas] == [None] * 3
    later = Replica(third.store, clock)
    await later.poll()
    many = [f"E{number}" for number in range(20)]
    assert await later.reads(GONE, *many) == [GONE] * 20
    assert await second.reads(GONE, *many) == [GONE] * 20


async def test_a_late_probe_does_not_open_a_circuit_that_another_replica_closed(
    replicas: list[Replica], clock: HandClock
) -> None:
    first, second, _ = replicas
    await first.reads(DOWN, *["D1"] * MIN_ANSWERS)
    await first.poll()
    await second.poll()
    assert await probed([second], clock, FINE) == [1]
    await second.poll()
    breaker = first.throttle._breaker
    breaker.record_probe(False, clock.now())
    await first.poll()
    assert [one.open_for for one in replicas] == [None] * 3


async def test_a_fleet_begins_with_a_closed_circuit(replicas: list[Replica], database: str, tmp_path: Path) -> None:
    """As a single agent does: the circuit belongs to the life of the fleet."""
    await replicas[0].reads(DOWN, *["D1"] * MIN_ANSWERS)
    await replicas[0].poll()
    for one in replicas:
        await one.store.aclose()
    given = Settings(state_url=database, state_dir=tmp_path / "0", key_file=tmp_path / "agent.key")
    store = await PostgresStore.open(given, ACCOUNT)
    assert (await store.shared_state()).circuit.opened is None
    await store.aclose()
