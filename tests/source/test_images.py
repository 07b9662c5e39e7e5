"""The content decides about an image, and no link leads to a file outside of the images folder."""

import hashlib
import io
import os
import random
from pathlib import Path

import PIL.Image
import pytest

from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import Image, UnusableImage
from agent.source import safe_read
from agent.source.images import ImageFolder, ImageProblem, read_verified
from agent.source.safe_read import ReadFailure, read_beneath
from verification.builders.pictures import jpeg, png
from verification.builders.request_files import write

JPEG, PNG = jpeg(), png()

LIMIT = 1000
MUCH = 1 << 20


def photo(*, progressive: bool = False) -> bytes:
    """A JPEG with image data after its headers."""
    content = io.BytesIO()
    noise = random.Random(1).randbytes(64 * 64 * 3)
    PIL.Image.frombytes("RGB", (64, 64), noise).save(content, "JPEG", progressive=progressive)
    return content.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    return path


def reason(images: Path, path: str, limit: int = LIMIT) -> ImageProblem:
    """The reason why this image cannot be sent."""
    found = ImageFolder(images, limit).inspect({Depiction.FRONT: path})
    assert isinstance(found, tuple)
    (fault,) = found
    assert path not in fault.message + fault.hint
    assert fault.message.startswith("the front image ")
    return ImageProblem(fault.reason)


def test_valid_images_have_a_type_a_size_and_a_digest(images: Path) -> None:
    write(images / "a/front.png", JPEG)  # the ending says nothing
    write(images / "a/back.jpg", PNG)
    found = ImageFolder(images, LIMIT).inspect({Depiction.FRONT: "a/front.png", Depiction.BACK: "a/back.jpg"})
    assert isinstance(found, dict)
    assert found == {
        Depiction.FRONT: hashlib.sha256(JPEG).hexdigest(),
        Depiction.BACK: hashlib.sha256(PNG).hexdigest(),
    }


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8", PNG[:12], PNG[:8] + b"\0" * 20, b"%PDF-1.7"])
def test_an_image_that_is_neither_jpg_nor_png_is_refused(images: Path, content: bytes) -> None:
    write(images / "a.jpg", content)
    assert reason(images, "a.jpg") is ImageProblem.FORMAT


@pytest.mark.parametrize("whole", [JPEG, PNG, jpeg("a comment"), png("a comment"), photo(), photo(progressive=True)])
def test_a_picture_without_its_end_is_cut_off(images: Path, whole: bytes) -> None:
    """Assure would bill it, and the verification would fail. [I1]"""
    for share in (0.3, 0.5, 0.9):
        write(images / "a.jpg", whole[: max(len(PNG[:16]), int(len(whole) * share))])
        assert reason(images, "a.jpg", MUCH) is ImageProblem.CUT
    write(images / "a.jpg", whole[:-2])
    assert reason(images, "a.jpg", MUCH) is ImageProblem.CUT
    for after in (b"", b"\0" * 512, b"and a video that the phone took along"):
        write(images / "a.jpg", whole + after)
        assert isinstance(ImageFolder(images, MUCH).inspect({Depiction.FRONT: "a.jpg"}), dict)


def test_the_preview_in_a_jpeg_is_not_its_end(images: Path) -> None:
    preview = jpeg()
    segment = b"\xff\xe1" + (2 + len(preview)).to_bytes(2) + preview
    filled = JPEG[:2] + segment + b"\xff" + JPEG[2:]  # a fill byte may precede any marker
    write(images / "a.jpg", filled[:-2])
    assert reason(images, "a.jpg", MUCH) is ImageProblem.CUT
    write(images / "a.jpg", filled)
    assert isinstance(ImageFolder(images, MUCH).inspect({Depiction.FRONT: "a.jpg"}), dict)


@pytest.mark.parametrize(
    "nonsense", [b"\xff" * LIMIT, b"\xff\xe0\0\0" * (LIMIT // 4), b"\xff\xe0\xff\xff", b"\xff\xda"]
)
def test_a_jpeg_of_random_bytes_is_cut_off(images: Path, nonsense: bytes) -> None:
    write(images / "a.jpg", (b"\xff\xd8" + nonsense)[:LIMIT])
    assert reason(images, "a.jpg") is ImageProblem.CUT


def test_the_size_limit_is_inclusive(images: Path) -> None:
    write(images / "a.jpg", JPEG.ljust(LIMIT, b"x"))
    assert isinstance(ImageFolder(images, LIMIT).inspect({Depiction.FRONT: "a.jpg"}), dict)
    write(images / "a.jpg", JPEG.ljust(LIMIT + 1, b"x"))
    assert reason(images, "a.jpg") is ImageProblem.TOO_LARGE


def test_every_fault_of_a_request_is_reported(images: Path) -> None:
    write(images / "back.jpg", "text")
    found = ImageFolder(images, LIMIT).inspect({Depiction.FRONT: "front.jpg", Depiction.BACK: "back.jpg"})
    assert isinstance(found, tuple)
    assert [(fault.depiction, fault.reason) for fault in found] == [
        (Depiction.FRONT, ImageProblem.MISSING),
        (Depiction.BACK, ImageProblem.FORMAT),
    ]


@pytest.mark.parametrize("path", ["missing.jpg", "missing/a.jpg", "file.jpg/a.jpg", "n" * 300, "é/" * 3000 + "a"])
def test_a_missing_picture_is_missing(images: Path, path: str) -> None:
    write(images / "file.jpg", JPEG)
    assert reason(images, path) is ImageProblem.MISSING


def test_a_missing_images_folder_is_a_missing_picture(tmp_path: Path) -> None:
    assert reason(tmp_path / "nowhere", "a.jpg") is ImageProblem.MISSING


@pytest.mark.parametrize("path", ["link.jpg", "folder/secret.jpg", "../secret.jpg", "/etc/passwd", "twice.jpg"])
def test_no_path_leads_out_of_the_images_folder(tmp_path: Path, images: Path, path: str) -> None:
    write(tmp_path / "secret.jpg", JPEG)
    (images / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "twice.jpg").symlink_to("link.jpg")
    (images / "folder").symlink_to(tmp_path)
    found = ImageFolder(images, LIMIT).inspect({Depiction.FRONT: path})
    assert isinstance(found, tuple)
    assert found[0].reason in (ImageProblem.OUTSIDE, ImageProblem.MISSING)


def test_a_sibling_folder_with_the_same_beginning_is_outside(tmp_path: Path, images: Path) -> None:
    write(tmp_path / "images-secret/a.jpg", JPEG)
    (images / "a.jpg").symlink_to("../images-secret/a.jpg")
    assert reason(images, "a.jpg") is ImageProblem.OUTSIDE


def test_a_link_that_stays_inside_is_followed(tmp_path: Path, images: Path) -> None:
    write(images / "store/1.jpg", JPEG)
    (images / "a").symlink_to("store")
    (images / "front.jpg").symlink_to("a/1.jpg")
    (tmp_path / "linked-images").symlink_to(images)
    for folder in (images, tmp_path / "linked-images"):
        for path in ("front.jpg", "a/1.jpg"):
            assert isinstance(ImageFolder(folder, LIMIT).inspect({Depiction.FRONT: path}), dict)


def test_a_link_swapped_after_it_was_resolved_is_not_followed(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "secret/1.jpg", JPEG)
    write(images / "store/1.jpg", JPEG)
    (images / "front.jpg").symlink_to("store/1.jpg")
    resolve = os.path.realpath

    def and_swap(path: str, *, strict: bool = False) -> str:
        real = resolve(path, strict=strict)
        if not strict:  # the images folder itself
            return real
        (images / "store").rename(images / "moved")
        (images / "store").symlink_to(tmp_path / "secret")
        return real

    monkeypatch.setattr(safe_read.os.path, "realpath", and_swap)
    assert read_beneath(resolve(images), "front.jpg", LIMIT) is ReadFailure.OUTSIDE


def test_an_image_that_is_not_a_regular_file_is_refused_without_waiting(images: Path) -> None:
    os.mkfifo(images / "fifo.jpg")
    (images / "folder.jpg").mkdir()
    assert reason(images, "fifo.jpg") is ImageProblem.UNREADABLE
    assert reason(images, "folder.jpg") is ImageProblem.UNREADABLE


def test_an_unreadable_picture_is_reported(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(images / "a.jpg", JPEG)

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "simulated: root may read anything")

    monkeypatch.setattr(safe_read.os, "open", denied)
    assert reason(images, "a.jpg") is ImageProblem.UNREADABLE


def test_a_picture_that_grows_while_it_is_read_has_changed(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(images / "a.jpg", JPEG)
    read = os.read

    def and_grow(descriptor: int, size: int) -> bytes:
        with file.open("ab") as more:
            more.write(b"x")
        return read(descriptor, size)

    monkeypatch.setattr(safe_read.os, "read", and_grow)
    assert reason(images, "a.jpg") in (ImageProblem.CHANGED, ImageProblem.TOO_LARGE)


def test_only_the_admitted_bytes_are_read_for_the_upload(images: Path) -> None:
    file = write(images / "a.jpg", JPEG)
    image = ImageRef(depiction=Depiction.FRONT, path="a.jpg", sha256=hashlib.sha256(JPEG).hexdigest())
    found = read_verified(images, [image], LIMIT)
    assert found == {Depiction.FRONT: Image(content=JPEG, media_type="image/jpeg")}
    assert "specimen" not in repr(found)
    write(file, JPEG + b"!")
    found = read_verified(images, [image], LIMIT)
    assert isinstance(found, UnusableImage)
    assert (found.depiction, found.reason) == (Depiction.FRONT, ImageProblem.CHANGED)
    file.unlink()
    found = read_verified(images, [image], LIMIT)
    assert isinstance(found, UnusableImage)
    assert (found.reason, bool(found.hint)) == (ImageProblem.MISSING, True)


@pytest.mark.parametrize(
    ("there", "written", "ending"),
    [
        ("jane/FRONT.PNG", "jane/front.png", "; there is jane/FRONT.PNG"),
        ("Jane/front.png", "jane/front.png", "; there is Jane/front.png"),
        ("caf\u0065\u0301.png", "caf\u00e9.png", "in another Unicode form"),
        ("other.png", "front.png", ""),
    ],
)
def test_a_missing_file_with_a_similar_name_is_reported(images: Path, there: str, written: str, ending: str) -> None:
    write(images / there, PNG)
    (fault,) = ImageFolder(images, LIMIT).inspect({Depiction.FRONT: written})  # type: ignore[misc]
    assert fault.message.startswith("the front image is not in the images folder")
    assert fault.message.endswith(ending or "folder")


def test_a_name_with_the_spaces_that_macos_writes_is_read(images: Path) -> None:
    name = "Screenshot 2026-11-29 at 9.41.00\u202fAM.png"
    write(images / name, PNG)
    assert isinstance(ImageFolder(images, LIMIT).inspect({Depiction.FRONT: name}), dict)
