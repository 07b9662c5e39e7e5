"""Group commit: many steps in one statement, on one connection at a time. No transaction waits for this process.

Callers await their steps. A task takes all that wait, sends them as one call of `commit_batch`, and answers their
callers together. An answered step is durable [I4]. If the call fails, each caller's steps are sent alone, and only the
faulty ones fail.

An answer may get lost with its connection. Then the same batch is sent again: `done` means that the first one had not
arrived. `moved` together with rows that equal those of the batch means that it had. So a step is written exactly once.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

import orjson

from agent.core.errors import Impossible, Moved, StoreError
from agent.core.record import Phase, Record
from agent.core.step import Step
from agent.platform.callbacks import isolated
from agent.ports import Command, Receipt
from agent.store.identity_key import Keys
from agent.store.repository import MIRRORED, mirrored
from agent.store.request_row import RequestRow
from agent.store.writing.statements import Statement

from .batch import COMMIT, Batch, StoredRow
from .dialect import literal_text, template
from .driver import Connection, asyncpg
from .errors import MOVED, sqlstate, store_error
from .ownership import Ownership
from .persistence import Persistence
from .tickets import Ticket, answer, first_group
from .versions import versioned

_REMEMBERED = 1024  # rows, about 2 kB each; many times the default concurrency
_PHASE = MIRRORED.index("phase")
_STORED = "SELECT uid, version, seq, head, salt, record FROM requests WHERE uid = ANY($1::text[])"
_EXECUTE = versioned("SELECT execute_all($1, $2, $3)")
_LAST_COMMAND = "SELECT number, hash FROM commands ORDER BY number DESC LIMIT 1"


class _MovedOn(Exception):
    """A stored row is not the one that a step expects."""


class Commits:
    """The only writer of steps. All of its methods belong to one event loop.

    It calls `observe(seconds, callers)` after each commit.
    """

    def __init__(
        self,
        server: Persistence,
        owner: Ownership,
        keys: Keys,
        sinks: Sequence[str] = (),
        observe: Callable[[float, int], None] = lambda seconds, callers: None,
        committed: Callable[[int, str], None] = lambda event, digest: None,
    ) -> None:
        """`sinks` receive the notifications.

        `committed` receives the number and the hash of the last event of each commit that has any.
        """
        self._server = server
        self._owner = owner
        self._keys = keys
        self._sinks = tuple(sinks)
        self._observe = isolated(observe)
        self._committed = isolated(committed)
        self._rows: dict[str, RequestRow] = {}  # by uid; the row that was written last is the last one
        self._waiting: list[Ticket] = []
        self._any = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run())

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Return when the steps and the receipt are durable, all or none. Waits while the server is away.

        Raises Moved for a step whose `before` is not the stored record, StoreLocked if another agent owns the
        store, and StoreError if the server refuses.
        """
        await self._enqueue(steps, receipt=receipt)

    async def apply_command(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Write a command, its answer and its steps together, so that the command is executed once."""
        await self._enqueue(steps, command=(command, answer, at))

    async def erase(self, uid: str, at: float) -> None:
        """Erase the personal data of a request, and add an event for it."""
        await self._enqueue((), erased=(uid, at))

    async def execute(self, statements: Sequence[Statement]) -> list[int]:
        """Execute these in their order, all or none. Returns how many rows each one changed.

        Waits while the server is away, and repeats them if an answer got lost.
        """
        started = perf_counter()
        texts = [template(one.sql) for one in statements]
        rows = orjson.dumps([[[*map(literal_text, row)] for row in one.rows] for one in statements]).decode()

        async def send(connection: Connection) -> list[int] | None:
            counts: list[int] | None = await connection.fetchval(_EXECUTE, self._owner.epoch, texts, rows)
            return counts

        counts = await self._owner.ask(send)
        self._observe(perf_counter() - started, 1)
        return counts

    def remember(self, record: Record, seq: int, head: str, salt: str | None) -> None:
        """Remember the row of a request that was read elsewhere, so that its next step needs no read."""
        self._remember(record.uid, RequestRow(seq, head, salt, mirrored(record)))

    def forget(self, uid: str | None = None) -> None:
        """Forget the row of a request that other SQL changed, or all rows."""
        if uid is None:
            self._rows.clear()
        else:
            self._rows.pop(uid, None)

    async def close(self, patience: float = 10.0) -> None:
        """Write what waits, for at most `patience` seconds. Raises StoreError in the callers of the rest."""
        self._closed = True
        self._any.set()
        await asyncio.wait([self._task], timeout=patience)
        self._task.cancel()
        await asyncio.wait([self._task])
        left = StoreError(f"The database {self._server.where} did not answer before the end.", "start the agent again")
        for ticket in self._waiting:
            answer([ticket], left)

    async def _enqueue(
        self,
        steps: Sequence[Step],
        *,
        receipt: Receipt | None = None,
        command: tuple[Command, str, float] | None = None,
        erased: tuple[str, float] | None = None,
    ) -> None:
        if self._closed:
            raise StoreError("The store is closed.")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(steps, receipt, command, erased, future)
        if len({*ticket.uids()}) < len(steps):
            raise Impossible("a commit has two steps of one request")
        self._waiting.append(ticket)
        self._any.set()
        await future  # the steps are written even if this caller is cancelled

    async def _run(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._any.clear()
                await self._any.wait()
                continue
            group = first_group(self._waiting)
            await self._write(group)
            del self._waiting[: len(group)]

    async def _write(self, group: Sequence[Ticket]) -> None:
        started = perf_counter()
        try:
            await self._commit(group)
        except Exception as error:
            self.forget()
            if len(group) > 1:
                for ticket in group:
                    await self._write([ticket])
                return
            answer(group, store_error(self._server.where, await self._cause(error)))
        else:
            answer(group, None)
        self._observe(perf_counter() - started, len(group))

    async def _cause(self, error: Exception) -> Exception:
        """The cause of a failed commit: after the end of this life, another agent has changed the rows."""
        if not isinstance(error, Moved):
            return error
        try:
            return error if await self._server.ask(self._owner.renew) else self._owner.fenced()
        except StoreError as away:
            return away

    async def _commit(self, group: Sequence[Ticket]) -> None:
        """Send these tickets together. A row that another statement changed is read again, once."""
        try:
            await self._send(*await self._batch(group))
        except _MovedOn:
            self.forget()
            if len(group) > 1:
                raise
            try:
                await self._send(*await self._batch(group))
            except _MovedOn:
                raise Moved(", ".join(group[0].uids())) from None

    async def _batch(self, group: Sequence[Ticket]) -> tuple[Batch, dict[str, RequestRow]]:
        """The batch, and the rows to remember. Raises Moved if a stored record has another version."""
        batch, after = Batch(self._keys, self._sinks), {}
        known = await self._known([step.before for ticket in group for step in ticket.steps if step.before is not None])
        for ticket in group:
            for step in ticket.steps:
                after[step.record.uid] = batch.add(step, None if step.before is None else known[step.before.uid])
            if ticket.receipt is not None:
                batch.add_receipt(ticket.receipt)
            if ticket.command is not None:
                await self._add_command(batch, *ticket.command)
                after.clear()  # the event of the command follows the step
            if ticket.erased is not None:
                uid, at = ticket.erased
                self.forget(uid)
                batch.add_erasure(uid, at, (await self._stored([uid]))[uid])
        return batch, after

    async def _known(self, befores: Iterable[Record]) -> dict[str, RequestRow]:
        """The rows of these records. A remembered row decides nothing alone: the statement compares it."""
        known, unknown = {}, {}
        for before in befores:
            row = self._rows.get(before.uid)
            if row is not None and row.version == before.version:
                known[before.uid] = row
            else:
                unknown[before.uid] = before
        stored = await self._stored([*unknown]) if unknown else {}
        for uid, before in unknown.items():
            found = stored.get(uid)
            if found is None or found.version != before.version:
                raise Moved(uid)
            known[uid] = RequestRow(found.seq, found.head, found.salt, mirrored(before))
        return known

    async def _add_command(self, batch: Batch, command: Command, answer: str, at: float) -> None:
        last = await self._server.ask(lambda connection: connection.fetchrow(_LAST_COMMAND))
        stored = {}
        if command.uid is not None:
            self.forget(command.uid)
            stored = {} if command.uid in batch else await self._stored([command.uid])
        batch.add_command(command, answer, at, tuple(last or (0, "")), stored.get(command.uid or ""))

    async def _send(self, batch: Batch, after: dict[str, RequestRow]) -> None:
        arguments, lost = batch.arguments(), 0

        def broke() -> None:
            nonlocal lost
            lost += 1

        async def send(connection: Connection) -> tuple[str, int | None]:
            try:
                outcome, last_event = await connection.fetchrow(COMMIT, self._owner.epoch, *arguments)
            except asyncpg.PostgresError as error:
                if sqlstate(error) == MOVED:
                    return "moved", None
                raise
            return outcome, last_event

        outcome, last_event = await self._server.ask(send, broke)
        if outcome == "fenced" and await self._owner.restore():
            outcome, last_event = await self._server.ask(send, broke)
        if outcome != "done" and not (lost and await self._is_written(batch)):
            if outcome == "fenced":
                raise self._owner.fenced()
            raise _MovedOn
        if last_event is not None:
            self._owner.advance(last_event, batch.last_hash)
            self._committed(last_event, batch.last_hash)
        for uid, row in after.items():
            self._remember(uid, row)

    async def _is_written(self, batch: Batch) -> bool:
        """True if the rows of this batch are in the database: an earlier try was committed, and its answer got lost."""
        ours = batch.writes()
        stored = await self._stored([*ours])
        if batch.command is None:
            return bool(ours) and stored == ours
        command_id, head = batch.command
        sql = "SELECT hash FROM commands WHERE id = $1"
        return stored == ours and await self._server.ask(lambda one: one.fetchval(sql, command_id)) == head

    async def _stored(self, uids: list[str]) -> dict[str, StoredRow]:
        rows = await self._server.ask(lambda connection: connection.fetch(_STORED, uids))
        return {uid: StoredRow(*columns) for uid, *columns in rows}

    def _remember(self, uid: str, row: RequestRow) -> None:
        self._rows.pop(uid, None)
        if row.mirrored[_PHASE] != Phase.DONE:
            self._rows[uid] = row
            if len(self._rows) > _REMEMBERED:
                del self._rows[next(iter(self._rows))]
