"""Erase expired claims, and image files that were used [I6].

Both are recorded in the audit log of the request. A failure for one request does not affect the others, and the agent
tries again at the next run. No error here may end the agent, because dossiers must be deleted.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from pathlib import Path

from agent.core.effect import ImageRef
from agent.core.errors import AgentError
from agent.core.observations import ClaimsErased, ImagesDiscarded, Observation
from agent.core.record import Record
from agent.platform.log import logger
from agent.ports import Clock, RecordPort
from agent.source.images import discard, protected
from agent.store.contract import Store
from agent.store.read_results import ImageDeletion

_WRITE_HINT = "give the agent write access to the images folder. It tries again with backoff, and at each start"
_GONE_RESULTS = ("deleted", "missing")  # results for a file that does not exist
_CHUNK = 100  # requests for each time that admission waits for the deletion


class Erasure:
    """Erases expired claims and used images. While `admission_lock` is held, no document is admitted."""

    def __init__(
        self,
        store: Store,
        records: RecordPort,
        images: tuple[Path, int],
        admission_lock: Callable[[], AbstractAsyncContextManager[object]],
        clock: Clock,
        may_delete: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`images` are the images folder and the largest size of an image in bytes.

        `may_delete`: True if this replica has the turn of the source, so that no other one admits documents.
        """
        self._may_delete = may_delete
        self._store = store
        self._records = records
        self._images_dir, self._max_bytes = images
        self._admission_lock = admission_lock
        self._clock = clock
        self._log = logger()

    async def erase_due(self, at_once: bool = False, claims: bool = True) -> None:
        """Erase everything that is due. `at_once` includes image files whose deletion failed a moment ago.

        Without `claims`, another replica erases them.
        """
        if claims:
            await self._attempt(self._erase_expired_claims)
        await self._attempt(lambda: self._delete_images(at_once))

    async def start(self, deletes: bool) -> None:
        """Erase at the start, including postponed deletions.

        `deletes`: the settings promise the deletion of images. Then a write-protected folder is logged as an error.
        """
        found = await asyncio.to_thread(protected, self._images_dir) if deletes else None
        if found is not None:
            self._log.error(
                "IMAGES_AFTER_UPLOAD is `delete`, but the agent cannot delete files in the images folder",
                hint="mount the folder read-write and give the agent's user write access to it and its subfolders, "
                "or set IMAGES_AFTER_UPLOAD to `keep`. `assure-agent doctor` names the folder",
            )
        await self.erase_due(at_once=True)

    async def _attempt(self, erase: Callable[[], Awaitable[None]]) -> None:
        """Log a failure, so that the other kind of erasure still runs."""
        try:
            await erase()
        except (AgentError, OSError) as error:
            cause = str(error) if isinstance(error, AgentError) else getattr(error, "strerror", None)
            hint = "check the state folder and its folder `keys`. The agent tries again in a minute"
            self._log.error("claims or images not erased", error=type(error).__name__, cause=cause, hint=hint)

    async def _erase_expired_claims(self) -> None:
        if not self._clock.confirmed:  # an erasure cannot be undone, so its time must be certain
            return
        if erased := await self.expire_claims():
            self._log.info("claims erased", count=erased)

    async def _delete_images(self, at_once: bool) -> None:
        if self._may_delete is not None and not await self._may_delete():
            return
        if discarded := await self.discard_images(at_once) + await self.discard_superseded(at_once):
            self._log.info("images deleted", count=discarded)

    async def expire_claims(self) -> int:
        """Make claims unreadable, deliver the observation, then erase them (`store/claims.py`). Return their number."""
        now, claims, erased = self._clock.now(), self._store.claims, 0
        while expired := await claims.expired(now):
            shut = await claims.make_unreadable(expired)
            current = [one.uid for one in shut if await self._generation(one.uid) == one.generation]
            declined = await self._records.deliver({uid: ClaimsErased(at=now) for uid in current})
            written = [one for one in shut if one.uid not in declined]
            await claims.erase(written)
            erased += len(written)
            if len(written) < len(expired):
                break  # another task encrypts claims with the key of that day; try again in a minute
        await claims.tidy()
        await claims.sweep(now)
        return erased

    async def discard_images(self, at_once: bool = False) -> int:
        """Delete the image files of requests that have an outcome. Returns the number of deleted files.

        The observation is delivered once all files of a request are deleted or belong to something else. Until then the
        agent tries again.
        """
        owed, deleted = iter(await self._store.image_deletions.due(math.inf if at_once else self._clock.now())), 0
        while chunk := list(islice(owed, _CHUNK)):
            observations: dict[str, Observation] = {}
            async with self._admission_lock():
                needed = await self._store.needed_images()
                for one in chunk:
                    record = await self._store.get(one.uid)
                    if record is None or not _images_unneeded(record, needed):
                        continue
                    how, cause = await asyncio.to_thread(self._discard, record.desired.images, one.how)
                    deleted += _count_deleted(how) - _count_deleted(one.how)
                    if cause:
                        await self._postpone(one, cause, how)
                    else:
                        observations[one.uid] = self._discarded(record, how)
            await self._records.deliver(observations)
        return deleted

    async def discard_superseded(self, at_once: bool = False) -> int:
        """Delete the image files of earlier generations that no request uses. Returns the number of deleted files."""
        owed = iter(await self._store.image_deletions.superseded(math.inf if at_once else self._clock.now()))
        deleted = 0
        while chunk := list(islice(owed, _CHUNK)):
            async with self._admission_lock():
                needed = await self._store.needed_images()
                for one in chunk:
                    if needed.get(one.path) or needed.get(one.sha256):
                        continue
                    found = await asyncio.to_thread(discard, self._images_dir, one.path, one.sha256, self._max_bytes)
                    now = self._clock.now()
                    if not found.errno:
                        await self._store.image_deletions.superseded_done(one, now, found.how)
                        deleted += found.how == "deleted"
                        continue
                    await self._store.image_deletions.superseded_failed(one, now, found.errno)
                    if not one.tries:
                        self._log.error("images not deleted", uid=one.uid, cause=found.errno, hint=_WRITE_HINT)
        return deleted

    async def _postpone(self, one: ImageDeletion, cause: str, how: Mapping[str, str]) -> None:
        await self._store.image_deletions.failed(one, self._clock.now(), cause, how)
        if not one.tries:
            self._log.error("images not deleted", uid=one.uid, cause=cause, hint=_WRITE_HINT)

    def _discarded(self, record: Record, how: Mapping[str, str]) -> ImagesDiscarded:
        if left := sum(word not in _GONE_RESULTS for word in how.values()):
            self._log.warning(
                "image files not deleted, because they changed since admission",
                uid=record.uid,
                count=left,
                hint="`assure-agent explain UID` lists the files. Remove them by hand if they show the end user",
            )
        found = tuple((image.depiction, how[image.depiction]) for image in record.desired.images)
        return ImagesDiscarded(at=self._clock.now(), results=found)

    def _discard(self, images: Sequence[ImageRef], before: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Delete the files. Returns the result of each by depiction, and the errno of one that could not be deleted."""
        how, cause = dict(before), ""
        for image in images:
            if image.depiction in how:
                continue
            found = discard(self._images_dir, image.path, image.sha256, self._max_bytes)
            if found.errno:
                cause = found.errno
            else:
                how[image.depiction] = found.how
        return how, cause

    async def _generation(self, uid: str) -> int:
        record = await self._store.get(uid)
        return 0 if record is None else record.generation


def _count_deleted(how: Mapping[str, str]) -> int:
    return sum(word == "deleted" for word in how.values())


def _images_unneeded(record: Record, needed: Mapping[str, set[str]]) -> bool:
    """True when no open request uses these images.

    An open request may have another path to the same image (a link, a copy), so the digest decides.
    """
    if not record.discard or record.outcome is None or record.hold is not None or record.next is not None:
        return False
    marks = {mark for image in record.desired.images for mark in (image.path, image.sha256)}
    return all(needed.get(mark, set()) <= {record.uid} for mark in marks)
