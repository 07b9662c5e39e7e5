"""The table of claims: what is over is made unreadable, then told, then erased.

The order is what makes it true. First the data keys of the claims that stay are wrapped under another key of the day,
in one commit; then the old key is destroyed: from that moment no copy of what is over can be read by anybody. Only then
is the history told (by whoever asked), the rows are deleted, and the write-ahead log is truncated. Whatever ends us in
between, the rows are still there, and all of it is done again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agent.core.errors import AgentError
from agent.core.observations import Sealed
from agent.store.claims_keyring import Kept, Vault
from agent.store.connection import Connection
from agent.store.group_commit import Writer
from agent.store.secure_delete import truncate

COLUMNS = "uid, generation, key_id, wrapped, ciphertext, expires_at"
_PATIENCE = 100  # times 50 ms: until a seal that was under way is committed


def kept(row: Sequence[Any]) -> Kept:
    """A row of the table."""
    sealed = Sealed(key_id=row[2], wrapped=row[3], ciphertext=row[4], expires_at=row[5])
    return Kept(uid=row[0], generation=row[1], sealed=sealed)


class Claims:
    """What the store keeps of persons, sealed."""

    def __init__(self, vault: Vault, writer: Writer, query: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self.vault = vault
        self._writer = writer
        self._query = query
        self._untold = True  # what was erased may still be in the write-ahead log, also from an earlier life

    def expired(self, now: float, limit: int = 1000) -> list[Kept]:
        """Claims whose time is over, the oldest first."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"  # noqa: S608 - ours
        return [kept(row) for row in self._query(sql, (now, limit))]

    def of(self, uid: str) -> list[Kept]:
        """The claims of a request, of all its generations."""
        sql = f"SELECT {COLUMNS} FROM claims WHERE uid = ?"  # noqa: S608 - ours
        return [kept(row) for row in self._query(sql, (uid,))]

    async def shut(self, leaving: Sequence[Kept]) -> list[Kept]:
        """Make these unreadable for ever. Returns those that are; the others have to wait for a moment."""
        by_key: dict[str, set[tuple[str, int]]] = {}
        for one in leaving:
            by_key.setdefault(one.sealed.key_id, set()).add((one.uid, one.generation))
        done = set()
        for key_id, goers in by_key.items():
            if self.vault.retire(key_id):
                await self._close(key_id, goers)
                done.add(key_id)
        return [one for one in leaving if one.sealed.key_id in done]

    async def shut_all(self, uid: str) -> list[Kept]:
        """Make all claims of a request unreadable for ever. Raises AgentError when that cannot be done now."""
        leaving = self.of(uid)
        for _ in range(_PATIENCE):
            if len(await self.shut(leaving)) == len(leaving):
                return leaving
            await asyncio.sleep(0.05)
        raise AgentError("Claims of the same day are being written.", "send the command again in a minute")

    async def erase(self, leaving: Sequence[Kept]) -> None:
        """Delete the rows of claims that are unreadable, and what the write-ahead log has of them."""
        if leaving:
            sql = "DELETE FROM claims WHERE uid = ? AND generation = ?"
            rows = [(one.uid, one.generation) for one in leaving]
            self._untold = True
            await self._writer.write(lambda connection: connection.executemany(sql, rows))
        await self.tidy()

    async def tidy(self) -> None:
        """Truncate the write-ahead log after something was erased. While somebody reads it has to wait: ask again."""
        if self._untold:
            done: list[bool] = []
            await self._writer.write(lambda connection: done.append(truncate(connection)), alone=True)
            self._untold = not done[0]

    def sweep(self, now: float) -> None:
        """Destroy keys whose day is over and that no row names: a crash, or a restored copy, left them."""
        left = self.vault.left_over(now)
        if left:
            named = {row[0] for row in self._query("SELECT DISTINCT key_id FROM claims", ())}
            for key_id in left:
                if key_id not in named and self.vault.retire(key_id):
                    self.vault.destroy(key_id)

    async def _close(self, key_id: str, goers: set[tuple[str, int]]) -> None:
        """Take the others out of this key, then destroy it; or leave it, when it cannot be opened here.

        Without the CLAIMS_KEY it was written under, nobody can open it; it goes with the last that it was for.
        """
        stays = False

        def work(connection: Connection) -> None:
            nonlocal stays
            sql = f"SELECT {COLUMNS} FROM claims WHERE key_id = ?"  # noqa: S608 - ours
            others = [one for row in connection.execute(sql, (key_id,)) if not _among(one := kept(row), goers)]
            moved = [(one, self.vault.moved(one)) for one in others]
            stays = any(sealed is None for _, sealed in moved)
            rows = [(s.key_id, s.wrapped, one.uid, one.generation) for one, s in moved if s is not None and not stays]
            sql = "UPDATE claims SET key_id = ?, wrapped = ? WHERE uid = ? AND generation = ?"
            connection.executemany(sql, rows)

        await self._writer.write(work)
        if not stays:
            await asyncio.to_thread(self.vault.destroy, key_id)


def _among(one: Kept, goers: set[tuple[str, int]]) -> bool:
    return (one.uid, one.generation) in goers
