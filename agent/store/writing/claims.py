"""The table of claims. Expired claims become unreadable first, then the history says so, then the rows are erased.

The order makes the erasure reliable. First, the data keys of the claims that stay are wrapped under another key of the
same day, in one commit. Then the agent destroys the old key. From then on, no copy of the expired claims is readable.
Only then does the caller add the event to the history, and the agent deletes the rows and their copies. After a crash
in between, the rows still exist, and the agent repeats all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agent.core.errors import AgentError
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.reading.reads import Query
from agent.store.stored_claims import COLUMNS, StoredClaims, stored_claims
from agent.store.writing.statements import Engine, Statement

_RETIRE_RETRIES = 100  # times 50 ms: until an encryption in progress is committed


class Claims:
    """The encrypted claims in the store."""

    def __init__(self, keyring: ClaimsKeyring, engine: Engine, tidy: Callable[[], Awaitable[bool]]) -> None:
        """`tidy` removes the copies of deleted rows. False: it was not possible now."""
        self.keyring = keyring
        self._engine = engine
        self._tidy = tidy
        self._untidy = True  # copies of erased claims may be left, also from an earlier process

    async def expired(self, now: float, limit: int = 1000) -> list[StoredClaims]:
        """Expired claims, oldest first."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"  # noqa: S608 - constant
        return [stored_claims(row) for row in await self._engine.query(Query(sql, (now, limit)))]

    async def of(self, uid: str) -> list[StoredClaims]:
        """The claims of all generations of a request."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE uid = ?"  # noqa: S608 - constant
        return [stored_claims(row) for row in await self._engine.query(Query(sql, (uid,)))]

    async def make_unreadable(self, expiring: Sequence[StoredClaims]) -> list[StoredClaims]:
        """Destroy the keys of these claims. Returns the claims that are unreadable now. Try the others again later."""
        by_key: dict[str, set[tuple[str, int]]] = {}
        for one in expiring:
            by_key.setdefault(one.encrypted.key_id, set()).add((one.uid, one.generation))
        done = set()
        for key_id, expired_claims in by_key.items():
            if self.keyring.retire(key_id):
                await self._destroy_key(key_id, expired_claims)
                done.add(key_id)
        return [one for one in expiring if one.encrypted.key_id in done]

    async def make_all_unreadable(self, uid: str) -> list[StoredClaims]:
        """Make all claims of a request permanently unreadable. Raises AgentError if that is not possible now."""
        leaving = await self.of(uid)
        for _ in range(_RETIRE_RETRIES):
            if len(await self.make_unreadable(leaving)) == len(leaving):
                return leaving
            await asyncio.sleep(0.05)
        raise AgentError("Claims of the same day are being written.", "send the command again in a minute")

    async def erase(self, expiring: Sequence[StoredClaims]) -> None:
        """Delete the rows of unreadable claims, and their copies."""
        if expiring:
            sql = "DELETE FROM claims WHERE uid = ? AND generation = ?"
            rows = [(one.uid, one.generation) for one in expiring]
            self._untidy = True
            await self._engine.execute(Statement(sql, rows))
        await self.tidy()

    async def tidy(self) -> None:
        """Remove the copies of erased claims, if that was not possible at once."""
        if self._untidy:
            self._untidy = not await self._tidy()

    async def sweep(self, now: float) -> None:
        """Destroy keys of past days that no row names. A crash or a restored copy can leave such keys."""
        left = await asyncio.to_thread(self.keyring.expired, now)
        if left:
            named = {row[0] for row in await self._engine.query(Query("SELECT DISTINCT key_id FROM claims"))}
            for key_id in left:
                if key_id not in named and self.keyring.retire(key_id):
                    await asyncio.to_thread(self.keyring.destroy, key_id)

    async def _destroy_key(self, key_id: str, expiring: set[tuple[str, int]]) -> None:
        """Wrap the other claims under another key, then destroy this key.

        A key of another CLAIMS_KEY cannot be opened. It stays until the last of its claims expires.
        """
        sql = f"SELECT {COLUMNS} FROM claims WHERE key_id = ?"  # noqa: S608 - constant
        stored = [stored_claims(row) for row in await self._engine.query(Query(sql, (key_id,)))]
        moved = [(one, self.keyring.rewrap(one)) for one in stored if (one.uid, one.generation) not in expiring]
        if any(sealed is None for _, sealed in moved):
            return
        rows = [(s.key_id, s.wrapped_key, one.uid, one.generation) for one, s in moved if s is not None]
        update = "UPDATE claims SET key_id = ?, wrapped = ? WHERE uid = ? AND generation = ?"
        await self._engine.execute(Statement(update, rows))
        await asyncio.to_thread(self.keyring.destroy, key_id)
