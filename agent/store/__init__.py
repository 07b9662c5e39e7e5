"""The store, on the engine that STATE_URL names. Nothing else reads this URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.core.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from agent.platform.settings import Settings
    from agent.store.audit.connection import AuditConnection
    from agent.store.audit.query_library import AuditQueries, Query
    from agent.store.contract import Store
    from agent.store.copy.copying import Place
    from agent.store.copy.sides import Copying, Side, Source, Target
    from agent.store.read_results import RunningAgent
    from agent.store.reading.reading import Reading


async def open_store(
    settings: Settings,
    account: str | None,
    observe: Callable[[float, int], None] | None = None,
    rebind: bool = False,
    sinks: Sequence[str] = (),
) -> Store:
    """Open or create the store for this account (base URL and client id). `rebind` moves it from another account.

    `account` is None for commands that call nothing at Assure; they open the store of any account. `sinks` receive the
    notifications of each commit. `observe` gets the seconds and the pieces of each commit.

    Raises StoreLocked, StoreNewer, StoreForeign, StoreDamaged or StoreError, and changes nothing then.
    """
    if settings.uses_database:
        from agent.store.postgres.store import PostgresStore

        return await PostgresStore.open(settings, account, observe, rebind, sinks)
    from agent.store.sqlite.store import SqliteStore

    claims_key = settings.claims_key.get_secret_value()
    return SqliteStore(settings.state_path, account, observe, rebind, sinks, claims_key)


def open_reading(settings: Settings) -> Reading:
    """Open the store read-only, for a command, the metrics or a page. Raises StoreError."""
    if settings.uses_database:
        from agent.store.postgres.reading import PostgresReading

        return PostgresReading(settings)
    from agent.store.sqlite.readonly import ReadOnlyStore

    return ReadOnlyStore(settings.state_path)


def open_audit(settings: Settings) -> AbstractContextManager[AuditConnection]:
    """A connection for an auditor, which only reads. Raises StoreError."""
    if settings.uses_database:
        from agent.store.postgres.audit_connection import PostgresAudit

        return PostgresAudit.open(settings)
    from agent.store.sqlite.audit_connection import SqliteAudit

    return SqliteAudit.open(settings.state_path)


def audit_queries(settings: Settings) -> AuditQueries:
    """The queries of auditors, in the SQL of the engine. Nothing is opened yet."""
    if settings.uses_database:
        from agent.store.postgres.audit_queries import PostgresQueries

        return PostgresQueries(settings)
    from agent.store.sqlite.audit_queries import SqliteQueries

    return SqliteQueries(settings.state_path)


def auditor_role_sql(settings: Settings) -> str:
    """The SQL that creates the role of auditors in the database. Raises AgentError for a state file."""
    if settings.uses_database:
        from agent.store.postgres.audit_queries import auditor_role

        return auditor_role()
    raise AgentError(
        "A state file has no roles: the agent restricts each query itself.",
        "run the query with `assure-agent audit query --sql`",
    )


def datasette_metadata(settings: Settings, queries: Iterable[Query]) -> dict[str, Any]:
    """The metadata of Datasette for the state file. Raises AgentError for a database."""
    if settings.uses_database:
        raise AgentError(
            "Datasette reads SQLite only, and STATE_URL names a PostgreSQL database.",
            "use `assure-agent audit query`, or connect a tool for PostgreSQL as the role of auditors",
        )
    from agent.store.sqlite.datasette import metadata

    return metadata(queries, settings.state_path.stem)


def store_exists(settings: Settings) -> bool:
    """True if an agent has created the store. Raises StoreError if the server of a database cannot be used."""
    return store_identity(settings) is not None


def running_agent(settings: Settings) -> RunningAgent | None:
    """The agent that runs on the store, or None. Raises StoreError if the server of a database cannot be used."""
    if settings.uses_database:
        from agent.store.postgres.reading import owner

        return owner(settings)
    from agent.store.read_results import RunningAgent
    from agent.store.sqlite.lock import holder

    pid = holder(settings.state_path)
    return None if pid is None else RunningAgent(pid=pid)


def lost_store(settings: Settings) -> str | None:
    """The cause of the recovery that a start without a store would begin, or None. Call it if no store exists."""
    from agent.store.rollback_detection import Witnesses, lost_cause

    if settings.uses_database:
        return lost_cause(Witnesses.of_replica(settings.local_path, settings.key_file))
    return lost_cause(Witnesses.of_file(settings.state_path))


def store_identity(settings: Settings) -> tuple[int, int] | None:
    """A value that changes when another store takes the place of this one; None if there is none.

    Raises StoreError if the server of a database cannot be used.
    """
    if settings.uses_database:
        from agent.store.postgres.reading import identity

        return identity(settings)
    try:
        found = settings.state_path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def copy_source(settings: Settings) -> AbstractAsyncContextManager[Source]:
    """The store as the source of a copy. Raises StoreLocked while an agent owns it."""
    return _copying(settings).source(settings)


def copy_target(settings: Settings) -> AbstractAsyncContextManager[Target]:
    """The store as the target of a copy. Raises StoreLocked while an agent owns it."""
    return _copying(settings).target(settings)


def copy_reading(settings: Settings) -> AbstractAsyncContextManager[Side]:
    """The store for a comparison, also while an agent runs on it."""
    return _copying(settings).reading(settings)


def _copying(settings: Settings) -> Copying:
    if settings.uses_database:
        from agent.store.postgres import copying as database

        return database
    from agent.store.sqlite import copying as state_file

    return state_file


def copy_place(settings: Settings) -> Place:
    """The store and its local files, as a copy needs them."""
    from agent.store.copy.copying import Place
    from agent.store.copy.local_files import LocalFiles

    if settings.uses_database:
        files = LocalFiles(path=settings.local_path, key_file=settings.key_file, keys_dir=settings.keys_dir)
        return Place(url=settings.state_url, files=files)
    path = settings.state_path
    files = LocalFiles(path=path, key_file=None, keys_dir=path.with_name("keys"))
    return Place(url=f"sqlite:///{path.absolute()}", files=files)
