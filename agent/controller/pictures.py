"""The images folder as the interpreter sees it: read in threads, a bounded number at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import Image, UnusableImage
from agent.source.images import RejectedImage, read_verified

_READ_THREADS = 8  # requests whose images are read at once: bounds memory and disk


class ImageFolder:
    """Reads images below a folder and verifies that they are what was admitted."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._pool = asyncio.Semaphore(_READ_THREADS)

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | UnusableImage:
        """The images as they were admitted, or the first that is not so any more."""
        async with self._pool:
            return await asyncio.to_thread(self._read, images)

    def _read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | UnusableImage:
        found: dict[Depiction, Image] = {}
        for image in images:
            content = read_verified(self._folder, image.path, image.sha256, self._max_bytes)
            if isinstance(content, RejectedImage):
                return UnusableImage(depiction=image.depiction, reason=content.reason)
            found[image.depiction] = content
        return found
