"""What may not be kept any longer: claims whose time is over, and image files that were used [I6].

Both are told to the history of the request. What stands in the way of one request leaves the others alone, and is tried
again at the next turn: nothing here may end the agent, because dossiers have to be deleted first of all.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from pathlib import Path
from typing import Protocol

from agent.core.effect import ImageRef
from agent.core.errors import AgentError
from agent.core.observation import ClaimsErased, ImagesDiscarded, Observation
from agent.core.record import Record
from agent.core.remote import Depiction
from agent.log import logger
from agent.ports import Clock
from agent.source.images import discard
from agent.store.sqlite import SqliteStore

_CHUNK = 100  # requests whose images are deleted while no document is admitted


class Records(Protocol):
    """Who keeps the records."""

    async def tell(self, observations: Mapping[str, Observation]) -> None:
        """Let records know of something, by uid."""


class Erasure:
    """Erases what is over. `undisturbed` is entered while no document is being admitted."""

    def __init__(
        self,
        store: SqliteStore,
        records: Records,
        images: tuple[Path, int],
        undisturbed: Callable[[], AbstractAsyncContextManager[object]],
        clock: Clock,
    ) -> None:
        """`images` are the images folder and the largest size of an image in bytes."""
        self._store = store
        self._records = records
        self._images_dir, self._max_bytes = images
        self._undisturbed = undisturbed
        self._clock = clock
        self._log = logger()

    async def tend(self) -> None:
        """Erase what is over by now; nothing while the time is not confirmed."""
        if not self._clock.confirmed:
            return
        try:
            if erased := await self.expire_claims():
                self._log.info("claims erased", count=erased)
            if discarded := await self.discard_images():
                self._log.info("images deleted", count=discarded)
        except (AgentError, OSError) as error:
            cause = str(error) if isinstance(error, AgentError) else getattr(error, "strerror", None)
            hint = "look at the state folder and its folder `keys`; it is tried again in a minute"
            self._log.error("not erased", error=type(error).__name__, cause=cause, hint=hint)

    async def expire_claims(self) -> int:
        """Unreadable, told, erased, in this order: see `store/claims.py`. Returns for how many generations."""
        now, claims, erased = self._clock.now(), self._store.claims, 0
        while expired := claims.expired(now):
            shut = await claims.shut(expired)
            current = [one.uid for one in shut if self._generation(one.uid) == one.generation]
            await self._records.tell({uid: ClaimsErased(at=now) for uid in current})
            await claims.erase(shut)
            erased += len(shut)
            if len(shut) < len(expired):
                break  # one of them is of a day for which something is being sealed: in a minute
        await claims.tidy()
        await asyncio.to_thread(claims.sweep, now)
        return erased

    async def discard_images(self) -> int:
        """Delete the image files of requests that have their outcome. Returns how many files."""
        uids, deleted = iter(self._store.discards()), 0
        while chunk := list(islice(uids, _CHUNK)):
            told: dict[str, Observation] = {}
            async with self._undisturbed():
                needed = await asyncio.to_thread(self._store.needed_images)
                for uid in chunk:
                    record = self._store.get(uid)
                    if record is not None and _used(record, needed):
                        how = await asyncio.to_thread(self._discard, record.desired.images)
                        told[uid] = ImagesDiscarded(at=self._clock.now(), how=how)
                        deleted += sum(word == "deleted" for _, word in how)
            await self._records.tell(told)
        return deleted

    def _discard(self, images: Sequence[ImageRef]) -> tuple[tuple[Depiction, str], ...]:
        return tuple(
            (image.depiction, discard(self._images_dir, image.path, image.sha256, self._max_bytes)) for image in images
        )

    def _generation(self, uid: str) -> int:
        record = self._store.get(uid)
        return 0 if record is None else record.generation


def _used(record: Record, needed: Mapping[str, set[str]]) -> bool:
    """True when nobody asks for these images any more: not this request, and no other that is open.

    An open request may have another path to the same picture (a link, a copy): the digest tells.
    """
    if not record.discard or record.outcome is None or record.hold is not None or record.next is not None:
        return False
    marks = {mark for image in record.desired.images for mark in (image.path, image.sha256)}
    return all(needed.get(mark, set()) <= {record.uid} for mark in marks)
