"""Image files that the agent deletes: their request, the result for each file, and the causes of failures."""

from collections.abc import Mapping

import orjson

from agent.store.read_results import ImageDeletion, SupersededImage
from agent.store.reading.reads import Query
from agent.store.writing.statements import Engine, Statement

FIRST, LONGEST = 60.0, 900.0  # seconds between two tries


class ImageDeletions:
    """The image files to delete. Reads see committed data."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def due(self, now: float) -> list[ImageDeletion]:
        """The due deletions, oldest first. Infinity: all."""
        sql = "SELECT uid, tries, how FROM image_deletions WHERE due_at <= ? ORDER BY since"
        rows = await self._engine.query(Query(sql, (now,)))
        return [ImageDeletion(uid=uid, tries=tries, how=orjson.loads(how)) for uid, tries, how in rows]

    async def failed(self, deletion: ImageDeletion, now: float, cause: str, how: Mapping[str, str]) -> None:
        """Record that a deletion failed. The pauses between tries grow."""
        pause = _pause(deletion.tries)
        sql = "UPDATE image_deletions SET tries = ?, due_at = ?, cause = ?, how = ? WHERE uid = ?"
        values = (
            deletion.tries + 1,
            now + pause,
            cause,
            orjson.dumps({str(depiction): result for depiction, result in how.items()}).decode(),
            deletion.uid,
        )
        await self._engine.execute(Statement.once(sql, *values))

    async def superseded(self, now: float) -> list[SupersededImage]:
        """The due files of earlier generations, oldest first. Infinity: all."""
        sql = """
            SELECT uid, generation, depiction, path, sha256, tries FROM superseded_images
            WHERE done_at IS NULL AND due_at <= ? ORDER BY since
        """
        names = ("uid", "generation", "depiction", "path", "sha256", "tries")
        rows = await self._engine.query(Query(sql, (now,)))
        return [SupersededImage(**dict(zip(names, row, strict=True))) for row in rows]

    async def superseded_failed(self, one: SupersededImage, now: float, cause: str) -> None:
        """Record that the deletion of a file failed. The pauses between tries grow."""
        await self._set(one, "tries = ?, due_at = ?, cause = ?", one.tries + 1, now + _pause(one.tries), cause)

    async def superseded_done(self, one: SupersededImage, now: float, how: str) -> None:
        """Record the result for a file: it is deleted, or its content has changed."""
        await self._set(one, "path = NULL, sha256 = NULL, done_at = ?, how = ?", now, how)

    async def has_pending(self, uid: str) -> bool:
        """True if a file of an earlier generation of this request is still to be deleted."""
        sql = "SELECT 1 FROM superseded_images WHERE uid = ? AND done_at IS NULL LIMIT 1"
        return bool(await self._engine.query(Query(sql, (uid,))))

    async def _set(self, one: SupersededImage, fields: str, *values: object) -> None:
        sql = f"UPDATE superseded_images SET {fields} WHERE uid = ? AND generation = ? AND depiction = ?"  # noqa: S608 - ours
        await self._engine.execute(Statement.once(sql, *values, one.uid, one.generation, one.depiction))


def _pause(tries: int) -> float:
    return min(LONGEST, FIRST * 2.0 ** min(tries, 10))
