"""The database for an auditor. Rows arrive in pages, so a million events need little memory."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.platform.settings import Settings
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, parsed
from agent.store.audit.connection import AuditConnection

from .checkpoints import LINES, NAMED
from .connect import Server
from .dialect import numbered, sent
from .errors import translated
from .facade import Facade
from .reading import Cursor

Explained = Callable[[str], contextlib.AbstractContextManager[None]]  # of the place of the database
_PAGE = 2000  # rows
# A snapshot keeps old rows alive, so an idle auditor loses it. An agent waits for no lock of it.
_SNAPSHOT = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL idle_in_transaction_session_timeout = '10min';
"""
_TABLES_WITH_UID = """
SELECT relname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND attname = 'uid' AND attnum > 0
ORDER BY relname
"""


class Session(Facade):
    """One connection of a loop in another thread, with at most one transaction.

    Each method may raise StoreError, or the error that `explained` makes of an error of the server.
    """

    def __init__(self, server: Server, explained: Explained) -> None:
        super().__init__(server)
        self._explained = explained
        self._connection = self.call(self._connect)
        self._frozen = False

    async def _connect(self) -> Any:
        return await (await self.pool()).acquire()

    def call(self, work: Callable[..., Any], *values: Any) -> Any:
        """The result of a coroutine of the driver."""

        async def called() -> Any:
            return await work(*values)

        with self._explained(str(self._server)):
            return self.run(called())

    def freeze(self, settings: str = "") -> None:
        """Begin a snapshot that lasts until `close`. `settings`: statements for this transaction."""
        self.call(self._connection.execute, _SNAPSHOT + settings)
        self._frozen = True

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows."""
        rows: list[Any] = self.call(self._connection.fetch, sql, *values)
        return rows

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows, in pages if there is a snapshot."""
        if not self._frozen:
            yield from self.fetch(sql, values)
            return
        cursor = self.call(self._connection.cursor, sql, *values)
        while page := self.call(cursor.fetch, _PAGE):
            yield from page

    def columns(self, sql: str) -> tuple[str, ...]:
        """The names of the columns of a query, which is not run."""
        prepared = self.call(self._connection.prepare, sql)
        return tuple(column.name for column in prepared.get_attributes())

    def close(self) -> None:
        """Close the connection, which ends its transaction."""

        async def ended() -> None:
            (await self.pool()).terminate()

        self.run(ended())
        super().close()


@contextlib.contextmanager
def session(server: Server, explained: Explained = translated) -> Iterator[Session]:
    """A connection for the block."""
    opened = Session(server, explained)
    try:
        yield opened
    finally:
        opened.close()


class PostgresAudit(AuditConnection):
    """A connection to a database."""

    def __init__(self, settings: Settings, server: Server, session: Session) -> None:
        super().__init__(settings.local_path, settings.key_path, f"database {server}")
        self._session = session

    @classmethod
    @contextlib.contextmanager
    def open(cls, settings: Settings) -> "Iterator[PostgresAudit]":
        """Connect for the block. Raises StoreError if the server cannot be used."""
        server = Server.of(settings)
        with session(server) as opened:
            yield cls(settings, server, opened)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The rows of a query, as a cursor."""
        return Cursor(self._session.fetch(numbered(sql), sent(values)))

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, one after the other."""
        return self._session.rows(numbered(sql), sent(values))

    def mappings(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        """The rows of a query by column, one after the other."""
        return map(dict, self.stream(sql, values))

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""
        self._session.freeze()

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoints of the database. Raises MalformedCheckpoint."""
        yield from parsed((line for (line,) in self.execute(LINES)), NAMED)

    @property
    def checkpoint_copy(self) -> Path | None:
        """The copy of the replica on this machine."""
        path = checkpoint_path(self.files)
        return path if path.exists() else None

    def tables_with_uid(self) -> Sequence[str]:
        """The tables whose rows belong to a request."""
        return [row[0] for row in self.execute(_TABLES_WITH_UID)]
