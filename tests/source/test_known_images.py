"""An image that did not change since this process read it is not read again before a start."""

import os
import time
from pathlib import Path

import pytest

from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import UnusableImage
from agent.source import images as images_module
from agent.source import known_images
from agent.source.images import ImageFolder
from agent.source.known_images import KnownImages
from agent.source.safe_read import Content, read_beneath

LIMIT = 10_000
PATH = "a/front.jpg"
LATER = 10.0  # seconds: no image of a test is so young


def jpeg(filling: bytes = b"x") -> bytes:
    return b"\xff\xd8\xff\xda\x00\x04\x00\x00" + filling * 100 + b"\xff\xd9"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / PATH).write_bytes(jpeg())
    return tmp_path


def admitted(folder: Path, age: float = LATER) -> tuple[ImageFolder, list[ImageRef]]:
    """The images folder after the admission of one image, `age` seconds after the image was written."""
    images = ImageFolder(folder, LIMIT, KnownImages(lambda: (folder / PATH).stat().st_ctime + age))
    found = images.inspect({Depiction.FRONT: PATH})
    assert isinstance(found, dict)
    return images, [ImageRef(depiction=Depiction.FRONT, path=PATH, sha256=found[Depiction.FRONT])]


async def problem(images: ImageFolder, refs: list[ImageRef]) -> str | None:
    found = await images.verify(refs)
    return None if found is None else found.reason


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are read from now on."""
    paths: list[str] = []

    def counted(root: str, path: str, limit: int) -> object:
        paths.append(path)
        return read_beneath(root, path, limit)

    monkeypatch.setattr(images_module, "read_beneath", counted)
    return paths


async def test_an_unchanged_image_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, refs = admitted(folder)
    read = reads(monkeypatch)
    assert await problem(images, refs) is None
    assert read == []


async def test_the_upload_reads_an_unchanged_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, refs = admitted(folder)
    read = reads(monkeypatch)
    assert not isinstance(await images.read(refs), UnusableImage)
    assert read == [PATH]


async def test_after_a_restart_an_unchanged_image_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, refs = admitted(folder)
    read = reads(monkeypatch)
    assert await problem(ImageFolder(folder, LIMIT), refs) is None
    assert read == [PATH]


async def test_a_rewritten_image_with_the_old_size_and_mtime_is_noticed(folder: Path) -> None:
    images, refs = admitted(folder)
    before = (folder / PATH).stat()
    time.sleep(0.05)
    (folder / PATH).write_bytes(jpeg(b"y"))
    os.utime(folder / PATH, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await problem(images, refs) == "changed"


async def test_a_replaced_and_a_deleted_image_are_noticed(folder: Path) -> None:
    images, refs = admitted(folder)
    (folder / "new").write_bytes(jpeg(b"y"))
    (folder / "new").rename(folder / PATH)
    assert await problem(images, refs) == "changed"
    (folder / PATH).unlink()
    assert await problem(images, refs) == "missing"


async def test_a_folder_that_becomes_a_link_out_of_the_images_folder_is_noticed(folder: Path) -> None:
    images, refs = admitted(folder / ".")
    outside = folder.with_name(folder.name + "-outside")
    (folder / "a").rename(outside)
    (folder / "a").symlink_to(outside)
    assert await problem(images, refs) == "outside"


async def test_a_restored_image_is_accepted_again(folder: Path) -> None:
    images, refs = admitted(folder)
    (folder / PATH).write_bytes(jpeg(b"yy"))
    assert await problem(images, refs) == "changed"
    (folder / PATH).write_bytes(jpeg())
    assert await problem(images, refs) is None


@pytest.mark.parametrize("age", [-1.0, 0.0, 0.05])
async def test_an_image_that_changed_just_before_its_read_is_not_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    """It may change again within the same tick of the file system's clock, with the same ctime."""
    images, refs = admitted(folder, age)
    read = reads(monkeypatch)
    assert await problem(images, refs) is None
    assert read == [PATH]


def test_a_ctime_of_whole_seconds_counts_as_a_coarse_clock(folder: Path) -> None:
    known = KnownImages()
    status = (folder / PATH).stat()
    for began, remembered in ((2.0, False), (4.0, True)):
        identity = (status.st_size, 1_000_000_000_000_000_000, status.st_mtime_ns, status.st_ino)
        known.remember(PATH, Content(jpeg(), identity, status.st_dev), "digest", 1e9 + began)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(known_images, "identify_beneath", lambda *_, found=identity: (found, status.st_dev))
            assert known.is_unchanged(str(folder), PATH, "digest") is remembered
            assert not known.is_unchanged(str(folder), PATH, "another digest")
            patch.setattr(known_images, "identify_beneath", lambda *_, found=identity: (found, status.st_dev + 1))
            assert not known.is_unchanged(str(folder), PATH, "digest")


async def test_a_change_that_the_identity_does_not_show_never_reaches_assure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that are sent are those that were admitted, even if the file system's clock stops."""
    images, refs = admitted(folder)
    status = (folder / PATH).stat()
    old = (status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino), status.st_dev
    monkeypatch.setattr(known_images, "identify_beneath", lambda *_: old)
    (folder / PATH).write_bytes(jpeg(b"y"))
    assert await problem(images, refs) is None
    found = await images.read(refs)
    assert isinstance(found, UnusableImage)
    assert found.reason == "changed"


def test_the_oldest_image_is_forgotten_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_images, "_MOST", 2)
    known = KnownImages(lambda: (folder / PATH).stat().st_ctime + LATER)
    content = read_beneath(str(folder), PATH, LIMIT)
    assert isinstance(content, Content)
    for number in range(3):
        (folder / f"{number}.jpg").hardlink_to(folder / PATH)
    content = read_beneath(str(folder), PATH, LIMIT)
    assert isinstance(content, Content)
    for number in range(3):
        known.remember(f"{number}.jpg", content, "digest", known.now())
    assert [known.is_unchanged(str(folder), f"{number}.jpg", "digest") for number in range(3)] == [False, True, True]
