"""Are the pictures of a request fit to be sent? Their content says what they are, never their name.

Faults name the depiction, and the caller knows where its path is written [I6]. The only path in them is the one on disk
where that of a missing file differs from it in case or Unicode form.
"""

import errno
import hashlib
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from agent.core.assure_types import Depiction
from agent.ports import Image
from agent.source.diagnostics import printable_path
from agent.source.safe_read import ReadFailure, read_beneath, remove_beneath


class ImageProblem(StrEnum):
    """Why a picture is unfit."""

    MISSING = "missing"  # not there (yet)
    CHANGED = "changed"  # not the bytes that were admitted, or being written just now
    OUTSIDE = "outside"  # a link leads out of the images folder
    FORMAT = "format"  # neither jpg nor png by content, or empty
    CUT = "cut-off"  # its end is missing: half copied, or half received
    TOO_LARGE = "too-large"  # larger than MAX_IMAGE_BYTES
    UNREADABLE = "unreadable"  # no permission, not a regular file, or the disk failed


_MESSAGES: Mapping[ImageProblem, tuple[str, str]] = {
    ImageProblem.MISSING: ("is not in the images folder", "put the file there, or correct the path"),
    ImageProblem.CHANGED: ("has changed", "put the admitted file back, or ask for a rerun with the new one"),
    ImageProblem.OUTSIDE: ("leads out of the images folder through a link", "put a copy into the images folder"),
    ImageProblem.FORMAT: ("is neither jpg nor png by its content", "save it as jpg or png"),
    ImageProblem.CUT: ("is cut off: the end of the picture is missing", "copy the whole file here again"),
    ImageProblem.TOO_LARGE: ("is larger than MAX_IMAGE_BYTES", "make the image smaller, or raise the limit"),
    ImageProblem.UNREADABLE: ("cannot be read as a file", "make it a regular file that the agent may read"),
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
_MAX_NAMES_COMPARED = 10_000  # names of a folder, for one that is alike
_LARGEST = 64 * 1024 * 1024  # bytes of a picture to delete: MAX_IMAGE_BYTES may have been larger when it was admitted
_MOST_FOLDERS = 10_000  # that are looked at
_SEGMENTS = 4096  # before the picture itself; a camera writes some twenty


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedImage:
    """A picture that cannot be sent: why, and what to do (what stands after `Try: `)."""

    reason: ImageProblem
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFault:
    """What is wrong with one picture of a request."""

    depiction: Depiction
    reason: ImageProblem
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is remembered of a picture: `image/jpeg` or `image/png`, bytes, and SHA-256 in hex."""

    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class InspectedImages:
    """Every picture of a request, all fit."""

    pictures: Mapping[Depiction, Picture]


def inspect(
    images_dir: Path, paths: Mapping[Depiction, str], max_bytes: int
) -> InspectedImages | tuple[ImageFault, ...]:
    """Read each picture as a whole and report every fault. `paths` are relative to `images_dir`."""
    pictures: dict[Depiction, Picture] = {}
    faults: list[ImageFault] = []
    for depiction, path in paths.items():
        found = _read(images_dir, path, max_bytes)
        if isinstance(found, Image):
            digest = hashlib.sha256(found.content).hexdigest()
            pictures[depiction] = Picture(media_type=found.media_type, size=len(found.content), sha256=digest)
        else:
            words, hint = _MESSAGES[found]
            if found is ImageProblem.MISSING and (alike := _similar_path(images_dir, path)):
                words, hint = f"{words}; there is {alike}", "rename the file, or correct the path"
            message = f"the {depiction} image {words}"
            faults.append(ImageFault(depiction=depiction, reason=found, message=message, hint=hint))
    return tuple(faults) or InspectedImages(pictures)


def _similar_path(images_dir: Path, path: str) -> str | None:
    """The path of a file whose name differs in case or Unicode form only."""
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
    actual = printable_path("/".join(found))
    if actual == path or "/".join(found).casefold() != path.casefold():
        return f"{actual}, in another Unicode form"
    return actual


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def read_verified(images_dir: Path, path: str, sha256: str, max_bytes: int) -> Image | RejectedImage:
    """The picture to upload, when its bytes still have the digest that was admitted."""
    found = _read(images_dir, path, max_bytes)
    if isinstance(found, Image) and hashlib.sha256(found.content).hexdigest() != sha256:
        found = ImageProblem.CHANGED
    if isinstance(found, ImageProblem):
        return RejectedImage(reason=found, hint=_MESSAGES[found][1])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """What became of a picture that was to be deleted: `deleted`, or why it is not ours to delete any more.

    With an `errno` (its name, such as EROFS) it is still there, and is to be tried again.
    """

    how: str
    errno: str = ""


def discard(images_dir: Path, path: str, sha256: str, max_bytes: int) -> Discarded:
    """Delete a picture that is still what was admitted."""

    def is_it(content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == sha256

    left = remove_beneath(os.path.realpath(images_dir), path, max(max_bytes, _LARGEST), is_it)
    if left is None:
        return Discarded(how="deleted")
    return Discarded(
        how=_PROBLEMS[left.reason].value, errno=errno.errorcode.get(left.errno, "EIO") if left.errno else ""
    )


def protected(images_dir: Path) -> Path | None:
    """A folder, `images_dir` or one below, in which this process may delete no file; None: it may everywhere."""
    folders = (Path(folder) for folder, _, _ in os.walk(images_dir))
    return next((one for one in islice(folders, _MOST_FOLDERS) if not os.access(one, os.W_OK | os.X_OK)), None)


def _read(images_dir: Path, path: str, max_bytes: int) -> Image | ImageProblem:
    found = read_beneath(os.path.realpath(images_dir), path, max_bytes)
    if isinstance(found, ReadFailure):
        return _PROBLEMS[found]
    media_type = _media_type(found.content)
    if media_type is None:
        return ImageProblem.FORMAT
    whole = _jpeg_ends(found.content) if media_type == "image/jpeg" else found.content.rfind(_PNG_END) >= 0
    return Image(content=found.content, media_type=media_type) if whole else ImageProblem.CUT


def _media_type(content: bytes) -> str | None:
    if content.startswith(_JPEG):
        return "image/jpeg"
    return "image/png" if content.startswith(_PNG) else None


def _jpeg_ends(content: bytes) -> bool:
    """True when the end marker follows the picture. A preview in a segment before it has an end of its own.

    Each segment before the picture says how long it is; in the picture `ff d9` is the end marker and nothing else.
    """
    at = len(b"\xff\xd8")
    for _ in range(_SEGMENTS):
        if content[at : at + 1] != b"\xff" or len(content) < at + 4:
            return False
        if content[at + 1] == _SCAN:
            return content.rfind(_JPEG_END, at) >= 0  # from behind: there it is, as a rule
        fill = content[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(content[at + 2 : at + 4])
    return False
