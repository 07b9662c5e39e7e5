"""The images folder as the interpreter sees it: read in threads, a bounded number at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import Image, Unfit
from agent.source.images import ImageUnfit, read_verified

_READERS = 8  # requests whose images are read at once: bounds memory and disk


class PictureFolder:
    """Reads images below a folder and verifies that they are what was admitted."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._readers = asyncio.Semaphore(_READERS)

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | Unfit:
        """The images as they were admitted, or the first that is not so any more."""
        async with self._readers:
            return await asyncio.to_thread(self._read, images)

    def _read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | Unfit:
        found: dict[Depiction, Image] = {}
        for image in images:
            content = read_verified(self._folder, image.path, image.sha256, self._max_bytes)
            if isinstance(content, ImageUnfit):
                return Unfit(depiction=image.depiction, reason=content.reason)
            found[image.depiction] = content
        return found
