"""The throttle around a remote that gives one answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from agent.assure.circuit_breaker import OpenCircuit
from agent.assure.connection import Call
from agent.assure.rate_limit import RateLimiter
from agent.assure.throttle import Throttle
from agent.core.answer import Answer, Operation
from agent.core.classify import Reader
from agent.ports import CircuitTable, Clock


class Scripted:
    """A remote that gives the same answer to every call, and records the calls."""

    def __init__(self, answer: Answer[Any]) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Answer[Any]]]:
        async def call(*_: object) -> Answer[Any]:
            self.calls.append(name)
            return self.answer

        return call


class Throttled:
    """The throttle, and three calls through it."""

    def __init__(self, throttle: Throttle, remote: Scripted) -> None:
        self.throttle = throttle
        self._remote = remote
        self.is_closed, self.capacity, self.opens_at = throttle.is_closed, throttle.capacity, throttle.opens_at
        self.run_probes = throttle.run_probes

    async def create_dossier(self, reference: str) -> Answer[Any]:
        return await self._through(Operation.CREATE_DOSSIER, (), lambda: self._remote.create_dossier(reference))

    async def read_dossier(self, dossier_id: str) -> Answer[Any]:
        return await self._through(Operation.READ_DOSSIER, (dossier_id,), lambda: self._remote.read_dossier(dossier_id))

    async def list_dossiers(self) -> Answer[Any]:
        return await self._through(Operation.LIST_DOSSIERS, (), self._remote.list_dossiers)

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Any]:
        return await self._through(
            Operation.START_VERIFICATION,
            (dossier_id, "processes", process_id),
            lambda: self._remote.start_verification(dossier_id, process_id),
        )

    async def _through(
        self, operation: Operation, path: tuple[str, ...], perform: Callable[[], Awaitable[Answer[Any]]]
    ) -> Answer[Any]:
        async def send(_: Call, __: Reader[Any]) -> Answer[Any]:
            return await perform()

        call = Call(operation=operation, method="GET", path=("dossiers", *path))
        return await self.throttle(send, call, lambda reply: None)  # type: ignore[arg-type]


def limited(
    answer: Answer[Any], clock: Clock, rate: float = 0.0, shared: CircuitTable | None = None
) -> tuple[Throttled, Scripted, list[Any]]:
    """The throttle around a remote, and the reported circuits. `shared` is the circuit of all replicas."""
    remote, reported = Scripted(answer), list[OpenCircuit | None]()
    throttle = Throttle(
        remote,  # type: ignore[arg-type]
        RateLimiter(rate, clock),
        clock,
        lambda: 0.999,
        "aa-tests-".__eq__,
        reported.append,
        shared=shared,
    )
    return Throttled(throttle, remote), remote, reported
