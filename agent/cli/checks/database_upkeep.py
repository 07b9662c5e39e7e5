"""Checks of the server's upkeep: durable commits, standbys, old snapshots, dead rows and idle transactions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.cli.checks import Check, problem, warning
from agent.core.duration import format_duration
from agent.views.phrases import count_of

if TYPE_CHECKING:
    from agent.store.postgres.server_facts import ServerFacts

_OLD_SNAPSHOT = 300.0  # seconds
_MANY_DEAD_ROWS = 10_000  # autovacuum removes fewer only now and then


def checks(facts: "ServerFacts") -> Iterator[Check]:
    """The upkeep, in the order of the harm."""
    yield durability(facts)
    yield standbys(facts)
    yield snapshots(facts)
    yield vacuum(facts)
    yield idle_transactions(facts)


def durability(facts: "ServerFacts") -> Check:
    """The server loses no commit that it reported."""
    name = "durability"
    if facts.settings["fsync"] == "off":
        message = "fsync is off: a crash of the server's machine may destroy the database, and starts are billed again"
        return problem(name, message, "set fsync = on in postgresql.conf, and reload the server")
    if facts.settings["synchronous_commit"] == "off":
        message = "synchronous_commit is off for this role; the agent turns it on for its own commits"
        hint = "set synchronous_commit = on, if other programs write to this database"
        return Check(name=name, message=message, hint=hint)
    return Check(name=name, message="the server writes each commit to disk before it answers")


def standbys(facts: "ServerFacts") -> Check:
    """A standby that takes over has each commit."""
    name, names = "standbys", facts.settings["synchronous_standby_names"]
    if facts.standbys and not names:
        return warning(
            name,
            f"{facts.standbys} connected, none synchronous: after a failover, the last commits may be missing",
            "set synchronous_standby_names; without it, compare with Assure after a failover (see the runbook)",
        )
    if not facts.standbys and names:
        message = "synchronous_standby_names is set, and no standby is connected: each commit waits for one"
        return warning(name, message, "start the standby, or empty synchronous_standby_names")
    if facts.standbys:
        return Check(name=name, message=f"synchronous_standby_names is {names!r}; connected standbys: {facts.standbys}")
    return Check(name=name, message="none is connected")


def snapshots(facts: "ServerFacts") -> Check:
    """No old snapshot keeps the server from removing old rows."""
    name = "snapshots"
    hidden = f"; {count_of(facts.hidden_sessions, 'session')} not visible to this role" if facts.hidden_sessions else ""
    old = [(holder, seconds) for holder, seconds in facts.snapshots if seconds > _OLD_SNAPSHOT]
    if not old:
        return Check(name=name, message=f"no transaction is older than 5 minutes{hidden}")
    holder, seconds = old[0]
    return warning(
        name,
        f"{holder}, open for {format_duration(seconds // 1)}, keeps the rows that were deleted since{hidden}",
        "end that session (pg_terminate_backend) or transaction (ROLLBACK PREPARED)",
    )


def vacuum(facts: "ServerFacts") -> Check:
    """The server removes old rows by itself."""
    name, off = "vacuum", [one for one in ("autovacuum", "track_counts") if facts.settings[one] == "off"]
    if off:
        message = f"{off[0]} is off: the tables grow without limit, and erased data stays in them"
        return warning(name, message, f"set {off[0]} = on in postgresql.conf, and reload the server")
    if unvacuumed := [table.name for table in facts.tables if table.unvacuumed]:
        hint = f"ALTER TABLE {unvacuumed[0]} RESET (autovacuum_enabled)"
        return warning(name, f"autovacuum is off for {', '.join(unvacuumed)}: old rows stay in the tables", hint)
    bloated = max(facts.tables, key=lambda table: table.dead, default=None)
    if bloated is not None and bloated.dead > max(_MANY_DEAD_ROWS, bloated.live):
        hint = f"end old transactions, then VACUUM {bloated.name}; check the settings of autovacuum"
        message = f"{bloated.name} has {bloated.dead:,} dead rows and {bloated.live:,} live rows"
        return warning(name, message, hint)
    return Check(name=name, message="autovacuum removes old rows")


def idle_transactions(facts: "ServerFacts") -> Check:
    """A client that stops inside a transaction is ended."""
    limit = int(facts.settings["idle_in_transaction_session_timeout"])
    name = "idle transactions"
    if limit:
        return Check(name=name, message=f"the server ends them after {format_duration(limit / 1000)}")
    return Check(
        name=name,
        message="the server does not end them; the agent has none, another client may keep old rows with one",
        hint="set idle_in_transaction_session_timeout = 1min, if other clients use this database",
    )
