"""The circuit breaker that all replicas share."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agent.ports import CircuitState, SharedCircuit, TimeSpan

from .driver import Connection
from .ownership import Ownership
from .versions import versioned

# The state, as columns of one row: the pairs are null without a span.
COLUMNS = """
(SELECT ROW_TO_JSON(c) FROM circuit AS c)::text,
(SELECT json_object_agg(dossier, times) FROM missing_dossiers)::text
"""

_OPEN = versioned("SELECT open_circuit($1, $2, $3, $4, $5, $6)")
_RESCHEDULE = versioned("SELECT reschedule_probe($1, $2, $3, $4, $5)")
_CLOSE = versioned("SELECT close_circuit($1, $2, $3)")
_TAKE_PROBE = versioned("SELECT take_probe($1, $2, $3, $4, $5)")
_PAUSE = versioned("SELECT pause_calls($1, $2, $3)")
_TRUST = versioned("SELECT trust_missing($1, $2, $3)")
_COUNT_MISSING = versioned("SELECT count_missing($1, $2, $3)")
_FOUND = versioned("SELECT found_dossier($1)")


class CircuitRow:
    """Implements `agent.ports.CircuitTable`. Each call is one statement, which may be repeated."""

    def __init__(self, owner: Ownership) -> None:
        self._owner = owner

    async def open(self, circuit: SharedCircuit, urgent: bool) -> None:
        """Open the circuit. An `urgent` cause replaces another one."""
        values = circuit.cause, circuit.since, circuit.interval, circuit.probe_at, urgent
        await self._ask(_OPEN, *values)

    async def reschedule(self, circuit: SharedCircuit) -> None:
        """Set the interval and the next probe of this circuit."""
        values = circuit.cause, circuit.since, circuit.interval, circuit.probe_at
        await self._ask(_RESCHEDULE, *values)

    async def close(self, circuit: SharedCircuit) -> None:
        """Close this circuit, and forget the missing dossiers."""
        await self._ask(_CLOSE, circuit.cause, circuit.since)

    async def take_probe(self, circuit: SharedCircuit, now: float, next_at: float) -> bool:
        """Take the due probe. After a lost answer, the probe waits for the next time."""
        taken = await self._ask(_TAKE_PROBE, circuit.cause, circuit.since, now, next_at)
        return bool(taken)

    async def pause(self, span: TimeSpan) -> None:
        """Pause all calls, unless they are paused for longer."""
        await self._ask(_PAUSE, *span)

    async def trust(self, span: TimeSpan) -> None:
        """Trust missing dossiers, and close a circuit that they opened."""
        await self._ask(_TRUST, *span)

    async def count_missing(self, dossier: str, most: int) -> Mapping[str, int]:
        """Count an unexpected 404. A repetition after a lost answer counts twice, which trusts less."""
        counts: dict[str, int] = orjson.loads(await self._ask(_COUNT_MISSING, dossier, most))
        return counts

    async def found(self) -> None:
        """Forget the missing dossiers."""
        await self._ask(_FOUND)

    async def _ask(self, sql: str, *values: object) -> Any:
        """The answer of a function, which is null while this replica is fenced."""

        async def ask(connection: Connection) -> Any:
            return await connection.fetchval(sql, self._owner.epoch, *values)

        return await self._owner.ask(ask)


def circuit_state(columns: Sequence[str | None]) -> CircuitState:
    """The state in COLUMNS."""
    row, missing = (orjson.loads(column) if column else {} for column in columns)
    opened = None
    if row.get("cause") is not None:
        opened = SharedCircuit(
            cause=row["cause"], since=row["since"], interval=row["interval_seconds"], probe_at=row["probe_at"]
        )
    return CircuitState(opened=opened, paused=_span(row, "pause"), trusted=_span(row, "trust"), missing=missing)


def _span(row: Mapping[str, float | None], name: str) -> TimeSpan | None:
    begin, end = row.get(f"{name}_begin"), row.get(f"{name}_end")
    return None if begin is None or end is None else (begin, end)
