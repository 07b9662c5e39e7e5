"""Checks of the database itself: the privileges of the role, the tables and their encoding."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.cli.checks import Check, problem, warning
from agent.views.phrases import count_of

if TYPE_CHECKING:
    from agent.store.postgres.server_facts import ServerFacts


_MAINTAIN = 17  # the version of PostgreSQL in which a role may VACUUM the table of another


def checks(facts: "ServerFacts") -> Iterator[Check]:
    """The role, the tables, the encoding."""
    yield privileges(facts)
    yield encoding(facts)
    if (found := tables(facts)) is not None:
        yield found


def privileges(facts: "ServerFacts") -> Check:
    """The role can write, and cannot do more than it needs."""
    name, role = "database role", facts.role
    refused = [table.name for table in facts.tables if not table.usable]
    if refused and not facts.foreign:
        hint = f"as the owner of the tables: assure-agent store migrate --grant {role}"
        return problem(name, f"{role} may not read and write {_names(refused)}", hint)
    if not facts.tables and not facts.creates_tables:
        hint = f"CREATE SCHEMA AUTHORIZATION {role}, in this database"
        return problem(name, f"{role} may not create tables in this database", hint)
    if facts.superuser:
        hint = "create a role of its own for the agent, as the owner of the database, and name it in STATE_URL"
        return warning(name, f"{role} is a superuser: it may read and change every database of the server", hint)
    if kept := [table.name for table in facts.tables if not table.vacuums]:
        modern = facts.major >= _MAINTAIN
        return warning(
            name,
            f"{role} may not VACUUM {_names(kept)}: erased data stays there until autovacuum removes it",
            f"as the owner of the tables: assure-agent store migrate --grant {role}"
            if modern
            else f"use PostgreSQL {_MAINTAIN} or later, or make {role} the owner of the tables",
        )
    return Check(name=name, message=f"{role} can read and write, and is not a superuser")


def encoding(facts: "ServerFacts") -> Check:
    """The encoding of the text."""
    name, found = "database encoding", facts.settings["server_encoding"]
    if found != "UTF8":
        hint = "create the database with ENCODING 'UTF8' TEMPLATE template0"
        return problem(name, f"it is {found}, which cannot store all names", hint)
    return Check(name=name, message="UTF8")


def tables(facts: "ServerFacts") -> Check | None:
    """The tables cannot be used, or the agent has not created them. None: the check of the store reads them."""
    if facts.newer is not None:
        return problem("store", str(facts.newer).rstrip("."), facts.newer.hint)
    if facts.foreign:
        hint = "give the agent a database of its own, or a schema of its own in the search_path of its role"
        return problem("store", "the database has tables of another program", hint)
    if not facts.tables:
        return Check(name="store", message="the database has no tables yet; the agent creates them")
    return None


def _names(tables: list[str]) -> str:
    shown = ", ".join(tables[:3])
    return shown if len(tables) <= 3 else f"{shown} and {count_of(len(tables) - 3, 'other table')}"
