"""Checks of the store: SQLite, migrations, key, account, recovery, and the agent that runs on it."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from agent.assure.account import account_of
from agent.cli.checks import Check, problem, warning
from agent.cli.checks.files import OWNER_HINT
from agent.core.errors import AgentError
from agent.core.timestamps import format_optional_timestamp
from agent.platform.endpoint_health import TroubleRows, from_json
from agent.platform.settings import Settings, refuse_renamed
from agent.ports import MetaKey
from agent.store import lost_store, open_reading, running_agent, store_exists
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.migrations import NAMES
from agent.views.phrases import RECOVERY_CAUSES, count_of, count_withdrawals

_FIXED_VERSION = (3, 51, 3)  # the SQLite version that fixes a corruption of WAL files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """The facts about a store that the checks need, read at one moment."""

    migrations: set[str]
    account: str | None
    recovery: str | None  # the cause of a recovery that is not approved
    other_source: str | None
    circuit: str | None
    troubles: TroubleRows
    waiting_withdrawals: int
    key: str | None  # the fingerprint of the key file that wrote it
    paused_since: float | None


def sqlite(version: tuple[int, ...] | None = None) -> Check:
    """The version of SQLite."""
    version = version or sqlite3.sqlite_version_info
    text = ".".join(map(str, version))
    if tuple(version) >= _FIXED_VERSION:
        return Check(name="sqlite", message=f"{text}, with the fix of the WAL reset")
    return warning(
        "sqlite",
        f"{text} can damage a WAL file when it resets the file during a read; 3.51.3 fixes this",
        "install the package pysqlite3 if it exists for this platform, or a newer SQLite",
    )


def state_file(settings: Settings) -> Generator[Check, None, bool]:
    """The state file, and the agent that runs on it. Returns true if one runs."""
    path = settings.state_path
    if not store_exists(settings):
        yield Check(name="store", message=f"{path} does not exist yet; the agent creates it")
        return False
    try:
        agent = running_agent(settings)
    except (AgentError, OSError) as error:
        yield _unreadable(settings, error)
        return False
    yield from store(settings, NAMES, None if agent is None else str(agent))
    return agent is not None


def store(settings: Settings, names: Sequence[str], agent: str | None) -> Iterator[Check]:
    """Migrations, recovery, source, account, the running agent, a pause, and waiting withdrawals.

    `names`: the migrations that this version can use. `agent` describes the running agent.
    """
    try:
        found = _read(settings)
    except (AgentError, OSError) as error:
        yield _unreadable(settings, error)
        return
    yield _migrations(found.migrations, names)
    if settings.uses_database:
        yield _key(settings, found.key)
    if found.recovery is not None:
        hint = "check the held requests with `assure-agent get`, then run `assure-agent approve`"
        kind, _ = settings.store_place
        yield warning("recovery", f"the {kind} {RECOVERY_CAUSES[found.recovery]}; new work needs an approval", hint)
    yield from _same_source(settings.source_name, found.other_source)
    yield _account(found.account, settings)
    yield from _running(agent, found.circuit, found.troubles)
    if found.paused_since is not None:
        when = f" since {format_optional_timestamp(found.paused_since)}" if found.paused_since else ""
        yield warning("pause", f"the agent is paused{when} and starts nothing new", "`assure-agent resume`")
    if found.waiting_withdrawals:
        hint = "restore the files, or withdraw them with `assure-agent approve`; `assure-agent plan` lists them"
        yield warning("withdrawals", f"{count_withdrawals(found.waiting_withdrawals)} for approval", hint)


def lost(settings: Settings) -> Iterator[Check]:
    """The files of this machine belong to a database with tables, and this one has none."""
    try:
        cause = lost_store(settings)
    except (AgentError, OSError) as error:
        yield _unreadable(settings, error)
        return
    if cause is not None:
        yield warning(
            "recovery",
            f"the database has no tables, but {settings.local_path.parent} has the files of one that had some",
            "check the database in STATE_URL, or restore it; a start without it begins a recovery",
        )


def _read(settings: Settings) -> _Snapshot:
    with open_reading(settings) as reading:
        reading.check_integrity()
        reading.freeze()
        cause, _, approved = reading.recovery() or (None, False, False)
        return _Snapshot(
            migrations=reading.migrations(),
            account=reading.account(),
            recovery=None if approved else cause,
            other_source=reading.other_source(settings.source_name),
            circuit=reading.recall(MetaKey.CIRCUIT),
            troubles=from_json(reading.recall(MetaKey.ENDPOINTS)),
            waiting_withdrawals=reading.waiting_withdrawals(),
            key=reading.recall(MetaKey.KEY),
            paused_since=reading.recall_time(MetaKey.PAUSED),
        )


def _migrations(applied: set[str], names: Sequence[str]) -> Check:
    if newer := sorted(applied - set(names)):
        message = f"a newer version of the agent wrote the store (migration {newer[0]})"
        return problem("store", message, "install that version or a later one")
    if missing := [name for name in names if name not in applied]:
        return Check(name="store", message=f"the agent applies {count_of(len(missing), 'migration')} at its next start")
    return Check(name="store", message="the schema is current")


def _key(settings: Settings, fingerprint: str | None) -> Check:
    """The key file is the one that the database was written with."""
    name, path = "key", settings.key_path
    try:
        keys = Keys.existing(settings.local_path, settings.key_file)
    except AgentError as error:
        return problem(name, str(error).rstrip("."), error.hint)
    except OSError as error:
        return problem(name, f"{path} cannot be read: {error.strerror}", OWNER_HINT.format(path.parent))
    if fingerprint is None:
        return Check(name=name, message="the database belongs to no key yet")
    if keys is None:
        hint = f"copy the key file of the agent that wrote the database to {path}, or set KEY_FILE"
        return problem(name, f"{path} is missing, and the database was written with a key", hint)
    if keys.fingerprint != fingerprint:
        hint = "restore the key of that database (KEY_FILE), or set STATE_URL to a database of its own"
        return problem(name, f"the database was written under another key than {path}", hint)
    return Check(name=name, message=f"the database was written with the key in {path}")


def _account(account: str | None, settings: Settings) -> Check:
    own = account_of(settings)
    if account is None or account == own or not settings.client_id:
        return Check(name="account", message=f"the store belongs to {account or 'no account yet'}")
    hint = "set STATE_URL to another store, or bind this store to the account with `run --rebind`"
    return warning("account", f"the store belongs to {account}, not to {own}", hint)


def _running(agent: str | None, circuit: str | None, troubles: TroubleRows) -> Iterator[Check]:
    """The agent that runs on the store, and its troubles."""
    if agent is None:
        yield Check(name="agent", message="no agent is running on the store")
        return
    yield Check(name="agent", message=f"an agent is running ({agent})")
    if circuit:
        hint = "read the log of the agent, which names the cause and the remedy"
        yield warning("circuit", f"the circuit breaker is open, so the agent sends only probes ({circuit})", hint)
    for name, since, sentence in troubles:
        yield warning(
            "endpoint",
            f"calls of the running agent to {name} fail since {format_optional_timestamp(since)}: {sentence}",
            "see the runbook, section endpoint-trouble",
        )


def _same_source(source: str, followed: str | None) -> Iterator[Check]:
    try:
        refuse_renamed(source, followed)
    except AgentError as error:
        yield problem("source name", str(error).rstrip("."), error.hint)


def _unreadable(settings: Settings, error: AgentError | OSError) -> Check:
    if isinstance(error, AgentError):
        return problem("store", str(error).rstrip("."), error.hint)
    hint = OWNER_HINT.format(settings.local_path.parent)
    return problem("store", f"{error.filename or settings.local_path} cannot be read: {error.strerror}", hint)
