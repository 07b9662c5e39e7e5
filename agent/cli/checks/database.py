"""Checks of the connection to the database: the server, its version, latency, TLS and clock, and free connections."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.cli.checks import Check, database_role, database_upkeep, problem, warning
from agent.core.errors import AgentError
from agent.core.timestamps import format_optional_timestamp
from agent.platform.kernel_timer import KernelTimer
from agent.platform.settings import Settings
from agent.platform.store_url import DatabaseUrl
from agent.store.read_results import RunningAgent

if TYPE_CHECKING:
    from agent.store.postgres.server_facts import ServerFacts

KNOWN_VERSIONS = (15, 18)  # the oldest and the newest that the agent is tested with
_SLOW = 0.020  # seconds of an answer: a request waits for about eight of them
_OFFSET = 5.0  # seconds between the two clocks
_FEW_CONNECTIONS = 8  # an agent and one command use seven
_HIDDEN = "not visible to this role"


def read(settings: Settings) -> "ServerFacts | Check":
    """The facts about the server, or the check that failed because it cannot be used."""
    try:
        from agent.store.postgres.connect import Server
        from agent.store.postgres.server_facts import read_facts

        return asyncio.run(read_facts(Server.of(settings)))
    except AgentError as error:
        return problem("database", str(error).rstrip("."), error.hint)


def checks(settings: Settings, facts: "ServerFacts") -> Iterator[Check]:
    """All checks of a server that answers."""
    url = DatabaseUrl.parse(settings.state_url)
    yield latency(facts)
    yield version(facts)
    yield tls(url, facts)
    yield clock(facts)
    yield connections(facts)
    yield stop_timer()
    if facts.pooled:
        yield pooler(url)
    yield from database_role.checks(facts)
    yield from database_upkeep.checks(facts)
    if settings.keeps_claims:
        yield claims_keys(settings, url, facts)


def stop_timer() -> Check:
    """The kernel ends a replica that was stopped for longer than its lease."""
    name, timer = "stop timer", KernelTimer.create()
    if timer is None:
        message = "this system has none: a replica that was stopped in a call may finish it after another one sent it"
        return warning(
            name, message, "run the replicas on 64-bit Linux, and do not stop them (SIGSTOP, paused machines)"
        )
    timer.close()
    return Check(name=name, message="the kernel ends a replica that is stopped in a call for longer than its lease")


def described(owner: RunningAgent | None) -> str | None:
    """The agent that owns the database, and its start."""
    return None if owner is None else f"{owner}, since {format_optional_timestamp(owner.since)}"


def newer(migration: str) -> Check:
    """A newer version has migrated the database, and this one can still use it."""
    message = f"a newer version of the agent has migrated the database ({migration}); this version can still use it"
    return warning("update", message, "update the other replicas and this machine to that version")


def latency(facts: "ServerFacts") -> Check:
    """The server answers, and how fast."""
    name, message = "database", f"it answers in {facts.latency * 1000:.1f} ms"
    if facts.latency > _SLOW:
        hint = "run the agent near the server, and check the network and the load of the server"
        return warning(name, f"{message}: each request waits for about eight answers", hint)
    return Check(name=name, message=message)


def version(facts: "ServerFacts") -> Check:
    """The version of PostgreSQL. A connection refuses an older one."""
    name, (oldest, newest) = "database version", KNOWN_VERSIONS
    if facts.major > newest:
        return Check(
            name=name,
            message=f"PostgreSQL {facts.version}, newer than those that the agent was tested with",
            hint=f"a newer version of the agent; this one was tested with {oldest} to {newest}",
        )
    return Check(name=name, message=f"PostgreSQL {facts.version}")


def tls(url: DatabaseUrl, facts: "ServerFacts") -> Check:
    """The connection is encrypted, and its certificate is checked, unless it stays on this machine."""
    name = "database TLS"
    if not url.tls:
        return Check(name=name, message="the server is on this machine, so the connection has no TLS")
    if facts.tls is None:
        message = "the certificate and the host name are checked; a proxy or a pooler ends TLS before the server"
        return warning(name, message, "use TLS (verify-full) from there to the server as well")
    return Check(name=name, message=f"the certificate and the host name are checked (verify-full, {facts.tls})")


def clock(facts: "ServerFacts") -> Check:
    """The clock of the server. The lease of the owner is measured with it."""
    name, seconds = "database clock", abs(facts.ahead)
    if seconds > _OFFSET:
        side = "ahead of" if facts.ahead > 0 else "behind"
        hint = "synchronise the clocks of both machines (NTP)"
        return warning(name, f"the clock of the server is {seconds:.1f} s {side} the clock of this machine", hint)
    return Check(name=name, message=f"{seconds:.1f} s between the clocks of the server and of this machine")


def connections(facts: "ServerFacts") -> Check:
    """Connections that the server can still accept from a role without special privileges."""
    name, known = "database connections", facts.settings
    reserved = int(known["superuser_reserved_connections"]) + int(known.get("reserved_connections", 0))
    left = max(0, int(known["max_connections"]) - reserved - facts.connections)
    message = f"{left} of {known['max_connections']} are free"
    if left < _FEW_CONNECTIONS:
        hint = "raise max_connections, end idle clients, or put a pooler (PgBouncer) between them and the server"
        return warning(name, f"{message}; the agent and a command use up to six", hint)
    return Check(name=name, message=message)


def pooler(url: DatabaseUrl) -> Check:
    """A pooler answers for the server. PgBouncer before 1.21 loses prepared statements."""
    size = url.statement_cache_size
    if size == 0:
        return Check(name="pooler", message="a pooler answers, and the agent prepares no statements")
    return Check(
        name="pooler",
        message=f"a pooler answers, and the agent prepares up to {size} statements for each connection",
        hint="PgBouncer 1.21 or later with max_prepared_statements, or `statement_cache_size=0` in STATE_URL",
    )


def claims_keys(settings: Settings, url: DatabaseUrl, facts: "ServerFacts") -> Check:
    """The day keys of claims are in no backup of the database."""
    name, folder = "claims keys, place", settings.keys_dir
    if folder is None:
        return problem(
            name,
            "CLAIMS_KEY is set, and KEYS_DIR is not: the agent does not start",
            "set KEYS_DIR to a folder that no backup of the database contains, or remove CLAIMS_KEY",
        )
    place = folder.resolve()
    inside = next((one for one in facts.folders if url.local and place.is_relative_to(one)), None)
    if inside is not None:
        hint = "set KEYS_DIR to a folder that no backup of the database contains"
        return problem(name, f"{folder} is below {inside}, a folder of the database: its backups keep the keys", hint)
    if url.local and "data_directory" not in facts.settings:
        return Check(name=name, message=f"{folder} must be outside of the folder of the database, which is {_HIDDEN}")
    return Check(name=name, message=f"{folder} is outside of the folders of the database")
