"""Steps of opening a database, which several replicas may open at once. `agent/store/opening.py` has the others."""

import asyncio
from uuid import UUID

import orjson

from agent.core.errors import StoreAway, StoreForeign
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store.audit.open_requests import refuse_unverified
from agent.store.opening import OpenedStore, other_key
from agent.store.reading.common_reads import OPEN
from agent.store.rollback_detection import MarkReading
from agent.store.writing.statements import Statement

from .audit_connection import PostgresAudit
from .ownership import Ownership
from .persistence import Persistence
from .versions import versioned

_BEGIN = versioned("SELECT begin_store($1, $2)")
_READS, _PAUSE = 5, 1.0  # tries to read all open requests, and seconds between two of them
_VALUE = "SELECT value FROM meta WHERE key = $1"
# As the function `begin_recovery`. The other lives end, so that new ones read the recovery before they begin work.
_KEEP_IDENTITY = """
INSERT INTO meta (key, value) SELECT 'identities', value FROM meta WHERE key = 'identity'
ON CONFLICT (key) DO UPDATE SET value = meta.value || ' ' || excluded.value
"""
_ACCEPT_LINEAGE = versioned("UPDATE fleet SET timeline = lineage()")
_END_OTHERS = "UPDATE replicas SET ended = true WHERE kind = 'replica' AND epoch <> ?"


def opening_statements(checked: OpenedStore, owner: Ownership) -> list[Statement]:
    """The statements that finish the opening. If the store is older than its mark, all other lives end with them."""
    if not checked.older:
        return checked.statements
    begin = [Statement.once(_KEEP_IDENTITY), Statement.once(_ACCEPT_LINEAGE)]
    return [*begin, *checked.statements, Statement.once(_END_OTHERS, str(owner.epoch))]


def continue_mark(mark: MarkReading | None, owner: Ownership) -> bool:
    """Let the life continue the one that wrote this mark, which then counts in a roll call. False: it has no life."""
    if mark is None or mark.head is None or mark.epoch is None:
        return False
    owner.former = UUID(mark.epoch)
    owner.advance(mark.events, mark.head)
    return True


async def begin_facts(server: Persistence, owner: Ownership, facts: dict[str, str]) -> bool:
    """Write the facts that are missing in `meta`. False: another replica has written one of them."""
    text = orjson.dumps(facts).decode()
    return bool(await server.ask(lambda one: one.fetchval(_BEGIN, owner.epoch, text)))


async def refuse_other_facts(server: Persistence, owner: Ownership, facts: dict[str, str], settings: Settings) -> None:
    """Write the key and the account of a new store. Raises StoreError if another replica has written others."""
    await begin_facts(server, owner, facts)
    for key, expected in facts.items():
        found = await server.ask(lambda one, key=key: one.fetchval(_VALUE, key))  # type: ignore[misc]
        if key == MetaKey.KEY and found != expected:
            raise other_key(f"database {server.where}", settings.key_path)
        if key == MetaKey.ACCOUNT and found != expected and await owner.others():
            raise StoreForeign(
                f"Another replica has bound the database {server.where} to another Assure account ({found}).",
                "set the same BASE_URL and CLIENT_ID for each replica, or STATE_URL to a store of its own",
            )


async def refuse_unverified_requests(settings: Settings) -> None:
    """Raise StoreDamaged if an open request differs from its history. Reads again after a broken connection."""
    for left in reversed(range(_READS)):
        try:
            await asyncio.to_thread(_refuse_unverified_requests, settings)
        except StoreAway:
            if not left:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return


def _refuse_unverified_requests(settings: Settings) -> None:
    """Compare all open requests, read in pages."""
    with PostgresAudit.open(settings) as audit:
        audit.freeze()
        requests = audit.mappings(f"SELECT * FROM {OPEN}")  # noqa: S608 - constant
        refuse_unverified(audit, requests, audit.place, "the tools of the server")
