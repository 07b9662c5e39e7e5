"""Images of requests: inspect them at admission, read them for the upload, delete them afterwards.

The content decides the type of an image, never its name. A fault names the depiction; the caller knows the position of
the path [I6]. The only path in a fault is the one on disk that differs from the requested path in case or Unicode form.
"""

import asyncio
import errno
import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import Image, UnusableImage
from agent.source.diagnostics import printable_path
from agent.source.known_images import KnownImages
from agent.source.safe_read import ReadFailure, read_beneath, remove_beneath


class ImageProblem(StrEnum):
    """Why an image cannot be sent."""

    MISSING = "missing"  # the file does not exist, or not yet
    CHANGED = "changed"  # other bytes than those that were admitted, or written during the read
    OUTSIDE = "outside"  # a link leads out of the images folder
    FORMAT = "format"  # neither jpg nor png by content, or empty
    CUT = "cut-off"  # the end is missing, as in a file that is half copied
    TOO_LARGE = "too-large"  # larger than MAX_IMAGE_BYTES
    UNREADABLE = "unreadable"  # no permission, not a regular file, or a disk error


_MESSAGES: Mapping[ImageProblem, tuple[str, str]] = {
    ImageProblem.MISSING: ("is not in the images folder", "put the file there, or correct the path"),
    ImageProblem.CHANGED: ("has changed", "restore the admitted file, or request a rerun to use the new one"),
    ImageProblem.OUTSIDE: (
        "is a link that leads out of the images folder",
        "put a copy of the file into the images folder",
    ),
    ImageProblem.FORMAT: ("is neither a JPEG nor a PNG file by its content", "save it as JPEG or PNG"),
    ImageProblem.CUT: ("is cut off: the end of the image is missing", "copy the complete file again"),
    ImageProblem.TOO_LARGE: ("is larger than MAX_IMAGE_BYTES", "make the image smaller, or raise the limit"),
    ImageProblem.UNREADABLE: ("cannot be read", "make it a regular file that the agent's user can read"),
}
_PROBLEMS: Mapping[ReadFailure, ImageProblem] = {
    ReadFailure.MISSING: ImageProblem.MISSING,
    ReadFailure.OUTSIDE: ImageProblem.OUTSIDE,
    ReadFailure.IRREGULAR: ImageProblem.UNREADABLE,
    ReadFailure.TOO_LARGE: ImageProblem.TOO_LARGE,
    ReadFailure.CHANGING: ImageProblem.CHANGED,
    ReadFailure.UNREADABLE: ImageProblem.UNREADABLE,
}
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"  # an empty chunk and its checksum: always these bytes
_SCAN, _JPEG_END = 0xDA, b"\xff\xd9"
_MAX_NAMES_COMPARED = 10_000  # names of a folder that are compared with a missing name
_LARGEST = 64 * 1024 * 1024  # bytes of an image to delete: MAX_IMAGE_BYTES may have been larger at its admission
_MOST_FOLDERS = 10_000  # folders that `protected` checks
_SEGMENTS = 4096  # before the image data; a camera writes about twenty
_READ_THREADS = 8  # requests whose images are read at once: limits memory and disk load


class ImageFolder:
    """The images folder. `read` and `verify` run in threads, for a limited number of requests at once."""

    def __init__(self, folder: Path, max_bytes: int, known: KnownImages | None = None) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._known = known or KnownImages()
        self._pool = asyncio.Semaphore(_READ_THREADS)

    def inspect(self, paths: Mapping[Depiction, str]) -> Mapping[Depiction, str] | tuple[UnusableImage, ...]:
        """Read every image and remember it. Return the SHA-256 of each in hex, or all faults. Blocking.

        `paths` are relative to the folder.
        """
        digests: dict[Depiction, str] = {}
        faults: list[UnusableImage] = []
        for depiction, path in paths.items():
            found = _read(self._folder, path, self._max_bytes, self._known)
            if isinstance(found, _ReadImage):
                digests[depiction] = found.sha256
            elif found is ImageProblem.MISSING and (similar := _similar_path(self._folder, path)):
                message = f"the {depiction} image {_MESSAGES[found][0]}; there is {similar}"
                hint = "rename the file, or correct the path"
                faults.append(UnusableImage(depiction=depiction, reason=found, message=message, hint=hint))
            else:
                faults.append(_unusable(depiction, found))
        return tuple(faults) or digests

    async def verify(self, images: Sequence[ImageRef]) -> UnusableImage | None:
        """The first image that changed or cannot be read. Images that did not change since their read are not read."""
        async with self._pool:
            return await asyncio.to_thread(self._first_unusable, images)

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | UnusableImage:
        """The images as they were admitted, or the first one that changed or cannot be read."""
        async with self._pool:
            return await asyncio.to_thread(read_verified, self._folder, images, self._max_bytes)

    def _first_unusable(self, images: Sequence[ImageRef]) -> UnusableImage | None:
        if all(self._known.is_unchanged(str(self._folder), image.path, image.sha256) for image in images):
            return None
        found = read_verified(self._folder, images, self._max_bytes)
        return found if isinstance(found, UnusableImage) else None


def read_verified(
    images_dir: Path, images: Sequence[ImageRef], max_bytes: int
) -> Mapping[Depiction, Image] | UnusableImage:
    """The images to upload if their bytes have the admitted digests, or the first unusable one."""
    found: dict[Depiction, Image] = {}
    for image in images:
        content = _read(images_dir, image.path, max_bytes)
        if isinstance(content, _ReadImage) and content.sha256 != image.sha256:
            content = ImageProblem.CHANGED
        if isinstance(content, ImageProblem):
            return _unusable(image.depiction, content)
        found[image.depiction] = content.image
    return found


def _unusable(depiction: Depiction, problem: ImageProblem) -> UnusableImage:
    message, hint = _MESSAGES[problem]
    return UnusableImage(depiction=depiction, reason=problem, message=f"the {depiction} image {message}", hint=hint)


def _similar_path(images_dir: Path, path: str) -> str | None:
    """The path of a file whose name differs only in case or Unicode form."""
    folder, found = os.path.realpath(images_dir), []
    for part in path.split("/"):
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in islice(entries, _MAX_NAMES_COMPARED)]
        except OSError:
            return None
        same = part if part in names else next((name for name in names if _folded(name) == _folded(part)), None)
        if same is None:
            return None
        found.append(same)
        folder = f"{folder}/{same}"
    shown = printable_path("/".join(found))
    if shown == path or "/".join(found).casefold() != path.casefold():
        return f"{shown}, in another Unicode form"
    return shown


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """The result of deleting an image: `deleted`, or the reason why the agent must not delete the file.

    With an `errno` (its name, such as EROFS) the file still exists, and the agent tries again.
    """

    how: str
    errno: str = ""


def discard(images_dir: Path, path: str, sha256: str, max_bytes: int) -> Discarded:
    """Delete an image if it has the admitted digest."""
    left = remove_beneath(
        os.path.realpath(images_dir),
        path,
        max(max_bytes, _LARGEST),
        lambda content: hashlib.sha256(content).hexdigest() == sha256,
    )
    if left is None:
        return Discarded(how="deleted")
    return Discarded(
        how=_PROBLEMS[left.reason].value, errno=errno.errorcode.get(left.errno, "EIO") if left.errno else ""
    )


def protected(images_dir: Path) -> Path | None:
    """The first folder, `images_dir` or below, in which this process cannot delete files. None if it can in all."""
    folders = (Path(folder) for folder, _, _ in os.walk(images_dir))
    return next((one for one in islice(folders, _MOST_FOLDERS) if not os.access(one, os.W_OK | os.X_OK)), None)


@dataclass(frozen=True, slots=True)
class _ReadImage:
    image: Image
    sha256: str


def _read(images_dir: Path, path: str, max_bytes: int, known: KnownImages | None = None) -> _ReadImage | ImageProblem:
    """Read one image, and digest it if it is whole. `known` remembers it."""
    began = known.now() if known is not None else 0.0
    found = read_beneath(str(images_dir), path, max_bytes)
    if isinstance(found, ReadFailure):
        return _PROBLEMS[found]
    media_type = _media_type(found.content)
    if media_type is None:
        return ImageProblem.FORMAT
    whole = _jpeg_ends(found.content) if media_type == "image/jpeg" else found.content.rfind(_PNG_END) >= 0
    if not whole:
        return ImageProblem.CUT
    sha256 = hashlib.sha256(found.content).hexdigest()
    if known is not None:
        known.remember(path, found, sha256, began)
    return _ReadImage(Image(content=found.content, media_type=media_type), sha256)


def _media_type(content: bytes) -> str | None:
    if content.startswith(_JPEG):
        return "image/jpeg"
    return "image/png" if content.startswith(_PNG) else None


def _jpeg_ends(content: bytes) -> bool:
    """True if the end marker follows the image data. A preview in a segment before it has an end marker of its own.

    Each segment before the image data has a length. In the image data, `ff d9` is always the end marker.
    """
    at = len(b"\xff\xd8")
    for _ in range(_SEGMENTS):
        if content[at : at + 1] != b"\xff" or len(content) < at + 4:
            return False
        if content[at + 1] == _SCAN:
            return content.rfind(_JPEG_END, at) >= 0  # from the end: usually it is there
        fill = content[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(content[at + 2 : at + 4])
    return False
