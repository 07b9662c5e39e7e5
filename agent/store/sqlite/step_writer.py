"""The SQL of steps: several steps of one transaction are written together, by statement.

The order of the statements follows from three rules. A test compares a batch with the same steps written one by one.

- A request appears at most once in a batch. So an intent is in the table before the answer to it.
- The row of a request is written at once, in the order of the steps. So names stay unique at each moment, and a row of
  another table finds its request.
- All other rows follow by table, each table in the order of the steps. Rows of different requests do not affect each
  other, except through counters, which are sums.

The writer remembers the rows that it wrote last, instead of reading them before each step. It is the only writer [I7],
so its memory equals the file until a transaction fails. Then it forgets everything.
"""

from collections.abc import Iterable, Sequence

from agent.core.record import Phase, Record
from agent.core.step import Step
from agent.store.changes import Changes
from agent.store.identity_key import Keys
from agent.store.request_row import RequestRow
from agent.store.sqlite import step_statements as statements
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.request_row import Cursor, insert, stored_row, update

_REMEMBERED = 1024  # rows, about 2 kB each; many times the default concurrency


class StepWriter:
    """Writes steps, with their notifications for the `sinks`. The caller holds the transaction."""

    def __init__(self, keys: Keys, sinks: Sequence[str] = ()) -> None:
        self._keys = keys
        self._sinks = tuple(sinks)
        self._rows: dict[str, RequestRow] = {}  # by uid; the row that was written last is the last one

    def forget(self, uid: str | None = None) -> None:
        """Forget the row of a request that other SQL changed, or all rows after a transaction that failed."""
        if uid is None:
            self._rows.clear()
        else:
            self._rows.pop(uid, None)

    def write(self, connection: Connection, steps: Iterable[Step]) -> None:
        """Write these steps. Raises Moved if the stored record of a step has another version."""
        cursor = connection.cursor()  # one for all statements: `connection.execute` makes one for each
        try:
            changes = Changes(self._keys, self._sinks)
            for step in steps:
                if step.record.uid in changes.requests:
                    _write(cursor, changes)
                    changes = Changes(self._keys, self._sinks)
                known = None if step.before is None else self._known(cursor, step.before)
                self._remember(step.record, changes.add(step, known))
            _write(cursor, changes)
        except BaseException:
            self.forget()
            raise

    def _known(self, cursor: Cursor, before: Record) -> RequestRow:
        """The stored row. A remembered row decides nothing alone: the UPDATE compares it with the file."""
        known = self._rows.get(before.uid)
        return known if known is not None and known.version == before.version else stored_row(cursor, before)

    def _remember(self, record: Record, row: RequestRow) -> None:
        self._rows.pop(record.uid, None)
        if record.phase is not Phase.DONE:
            self._rows[record.uid] = row
            if len(self._rows) > _REMEMBERED:
                del self._rows[next(iter(self._rows))]


def _write(cursor: Cursor, changes: Changes) -> None:
    """Write the rows of `requests` in the order of the steps, then all other rows, then the net change of counters."""
    for step, known, row in changes.requests.values():
        if known is None:
            insert(cursor, step, row)
        else:
            update(cursor, step, known, row)
    for kind, rows in changes.rows.items():
        if rows:
            cursor.executemany(statements.OF[kind], rows)
    for sql, counts in ((statements.COUNTER, changes.counters), (statements.REQUEST_COUNT, changes.request_counts)):
        if rows := [(*key, change) for key, change in counts.items() if change]:
            cursor.executemany(sql, rows)
