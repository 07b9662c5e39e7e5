"""Deliberately broken functions of the database. The tests of the rules of replicas must detect each of them.

A mutation replaces a piece of text in a function of the server. Its name says what the database does then.
"""

from dataclasses import dataclass
from typing import Any

from agent.store.postgres.versions import NUMBER

_DEFINITION = """
SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = $1 AND pronamespace = current_schema()::regnamespace
"""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A piece of text that occurs once in a function, and what takes its place."""

    function: str
    text: str
    instead: str


DATABASE_MUTATIONS: dict[str, tuple[Replacement, ...]] = {
    "a-write-does-not-check-the-lease": (Replacement("holds_lease", "RETURN FOUND;", "RETURN true;"),),
    "a-write-does-not-lock-the-lease": (Replacement("holds_lease", " FOR KEY SHARE", ""),),
    "living-replicas-are-removed": (
        Replacement("remove_ended", "until <= clock_timestamp()", "until <= clock_timestamp() + interval '1 hour'"),
    ),
    "ended-replicas-stay": (Replacement("remove_ended", "until <= clock_timestamp()", "false"),),
    "claims-end-with-time": (
        Replacement("is_free", "WHERE uid = request", "WHERE uid = request AND since > clock_timestamp()"),
        Replacement(
            "claim_due", "WHERE NOT EXISTS (SELECT 1 FROM replicas AS living WHERE living.epoch = d.epoch)", ""
        ),
    ),
    "claims-of-the-dead-count": (Replacement("is_free", "JOIN replicas USING (epoch) ", ""),),
    "the-journal-is-not-locked": (
        Replacement("commit_batch", "PERFORM pg_advisory_xact_lock('events'::regclass::oid::bigint);", "NULL;"),
    ),
    "versions-are-not-compared": (Replacement("commit_batch", "IF matching <> expected THEN", "IF false THEN"),),
    "delays-begin-again-at-each-join": (
        Replacement(
            "join_replica",
            "AND NOT EXISTS (SELECT 1 FROM replicas WHERE kind = 'replica' AND until > clock_timestamp())",
            "",
        ),
    ),
    "the-budget-is-not-locked": (
        Replacement("take_start", "PERFORM pg_advisory_xact_lock('taken_starts'::regclass::oid::bigint);", "NULL;"),
    ),
    "a-turn-moves-while-its-holder-lives": (
        Replacement("hold_turn", "ELSIF EXISTS (SELECT 1 FROM replicas WHERE epoch = holder) THEN", "ELSIF false THEN"),
        Replacement("hold_turn", "AND EXISTS (SELECT 1 FROM replicas WHERE epoch = holder) THEN", "AND false THEN"),
    ),
    "each-replica-does-each-duty": (Replacement("take_duty", "WHERE d.next_at", "WHERE true OR d.next_at"),),
    "another-timeline-is-written": (Replacement("commit_batch", " OR is_foreign_{number}()", ""),),
    "each-replica-probes": (Replacement("take_probe", " AND probe_at <= moment", ""),),
}
"""By name: what is replaced."""


async def mutate_database(connection: Any, name: str) -> None:
    """Break the functions of this database. Raises ValueError if a text does not occur exactly once."""
    for one in DATABASE_MUTATIONS[name]:
        definition = await connection.fetchval(_DEFINITION, f"{one.function}_{NUMBER}")
        text = one.text.replace("{number}", str(NUMBER))
        if definition.count(text) != 1:
            raise ValueError(f"{one.function}: {text!r} occurs {definition.count(text)} times")
        await connection.execute(definition.replace(text, one.instead))
