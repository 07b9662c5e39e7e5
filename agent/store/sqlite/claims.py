"""The table of claims. Expired claims become unreadable first, then the history says so, then the rows are erased.

The order makes the erasure reliable. First, the data keys of the claims that stay are wrapped under another key of the
same day, in one commit. Then the agent destroys the old key. From then on, no copy of the expired claims is readable.
Only then does the caller add the event to the history, and the agent deletes the rows and truncates the write-ahead
log. After a crash in between, the rows still exist, and the agent repeats all of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agent.core.errors import AgentError
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.group_commit import Writer
from agent.store.sqlite.secure_delete import truncate
from agent.store.stored_claims import COLUMNS, StoredClaims, stored_claims

_RETIRE_RETRIES = 100  # times 50 ms: until an encryption in progress is committed


class Claims:
    """The encrypted claims in the store."""

    def __init__(self, vault: ClaimsKeyring, writer: Writer, query: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self.keyring = vault
        self._writer = writer
        self._query = query
        self._wal_dirty = True  # the write-ahead log may still have erased claims, also from an earlier process

    async def expired(self, now: float, limit: int = 1000) -> list[StoredClaims]:
        """Expired claims, oldest first."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"  # noqa: S608 - constant
        return [stored_claims(row) for row in self._query(sql, (now, limit))]

    async def of(self, uid: str) -> list[StoredClaims]:
        """The claims of all generations of a request."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE uid = ?"  # noqa: S608 - constant
        return [stored_claims(row) for row in self._query(sql, (uid,))]

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
        """Delete the rows of unreadable claims, and their copies in the write-ahead log."""
        if expiring:
            sql = "DELETE FROM claims WHERE uid = ? AND generation = ?"
            rows = [(one.uid, one.generation) for one in expiring]
            self._wal_dirty = True
            await self._writer.write(lambda connection: connection.executemany(sql, rows))
        await self.tidy()

    async def tidy(self) -> None:
        """Truncate the write-ahead log after an erasure. Does nothing while another connection reads: call it again."""
        if self._wal_dirty:
            done: list[bool] = []
            await self._writer.write(lambda connection: done.append(truncate(connection)), alone=True)
            self._wal_dirty = not done[0]

    async def sweep(self, now: float) -> None:
        """Destroy keys of past days that no row names. A crash or a restored copy can leave such keys."""
        await asyncio.to_thread(self._sweep, now)

    def _sweep(self, now: float) -> None:
        left = self.keyring.expired(now)
        if left:
            named = {row[0] for row in self._query("SELECT DISTINCT key_id FROM claims", ())}
            for key_id in left:
                if key_id not in named and self.keyring.retire(key_id):
                    self.keyring.destroy(key_id)

    async def _destroy_key(self, key_id: str, expiring: set[tuple[str, int]]) -> None:
        """Wrap the other claims under another key, then destroy this key.

        A key of another CLAIMS_KEY cannot be opened. It stays until the last of its claims expires.
        """
        stays = False

        def work(connection: Connection) -> None:
            nonlocal stays
            sql = f"SELECT {COLUMNS} FROM claims WHERE key_id = ?"  # noqa: S608 - constant
            others = [
                one for row in connection.execute(sql, (key_id,)) if not _among(one := stored_claims(row), expiring)
            ]
            moved = [(one, self.keyring.rewrap(one)) for one in others]
            stays = any(sealed is None for _, sealed in moved)
            rows = [
                (s.key_id, s.wrapped_key, one.uid, one.generation) for one, s in moved if s is not None and not stays
            ]
            sql = "UPDATE claims SET key_id = ?, wrapped = ? WHERE uid = ? AND generation = ?"
            connection.executemany(sql, rows)

        await self._writer.write(work)
        if not stays:
            await asyncio.to_thread(self.keyring.destroy, key_id)


def _among(one: StoredClaims, expiring: set[tuple[str, int]]) -> bool:
    return (one.uid, one.generation) in expiring
