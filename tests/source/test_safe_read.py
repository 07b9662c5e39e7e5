"""A folder that is opened once gives the same results as a path that is opened part by part."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.source.safe_read import Content, FolderReader, ReadFailure, read_beneath

LIMIT = 16
NAME = "a.yaml"
KINDS: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda place, _: place.write_bytes(b"content"),
    "empty": lambda place, _: place.write_bytes(b""),
    "at the limit": lambda place, _: place.write_bytes(b"x" * LIMIT),
    "too large": lambda place, _: place.write_bytes(b"x" * (LIMIT + 1)),
    "folder": lambda place, _: place.mkdir(),
    "pipe": lambda place, _: os.mkfifo(place),
    "missing": lambda place, _: None,
    "link inside": lambda place, root: place.symlink_to(root / "inside.yaml"),
    "link outside": lambda place, root: place.symlink_to(root.parent / "outside.yaml"),
    "link to a link outside": lambda place, root: place.symlink_to(root / "link.yaml"),
    "link nowhere": lambda place, _: place.symlink_to("nowhere"),
    "link to itself": lambda place, _: place.symlink_to(place.name),
    "link to a folder": lambda place, root: place.symlink_to(root),
}
FOLDERS: dict[str, Callable[[Path, Path], object]] = {
    "folder": lambda place, _: place.mkdir(),
    "link inside": lambda place, root: place.symlink_to(root / ".real"),
    "link outside": lambda place, root: place.symlink_to(root.parent / "other"),
    "missing": lambda place, _: None,
    "file": lambda place, _: place.write_bytes(b""),
}


@given(
    st.lists(st.sampled_from(sorted(FOLDERS)), max_size=2),
    st.sampled_from(["", "", "../", "./", "/"]),
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_folder_reader_reads_as_read_beneath_does(
    folders: list[str], end: str, kinds: list[str], linked: bool
) -> None:
    """[I9] For each kind of file and folder, and for several files of one folder; `linked`: the root is a link."""
    with tempfile.TemporaryDirectory() as name:
        outside = Path(name)
        root, source = outside / "root", outside / "linked"
        for folder in (root, root / ".real", outside / "other"):
            folder.mkdir()
        for file in (root / "inside.yaml", outside / "outside.yaml"):
            file.write_bytes(b"linked")
        (root / "link.yaml").symlink_to(outside / "outside.yaml")
        source.symlink_to(root)
        place, prefix = root, ""
        for kind in folders:
            place, prefix = place / "a", f"{prefix}a/"
            if place.parent.is_dir():
                FOLDERS[kind](place, root)
        found: list[Content | ReadFailure] = []
        expected: list[Content | ReadFailure] = []
        top, prefix = str(source if linked else root), prefix + end
        with FolderReader(top, prefix) as reader:
            for number, kind in enumerate(kinds):
                if place.is_dir():
                    KINDS[kind](place / f"{number}{NAME}", root)
                found.append(reader.read_file(f"{number}{NAME}", LIMIT))
                expected.append(read_beneath(top, f"{prefix}{number}{NAME}", LIMIT))
    assert found == expected


def test_a_folder_is_opened_once_and_closed(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_bytes(b"content")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no Path objects for descriptors
    with FolderReader(str(tmp_path), "") as reader:
        assert all(isinstance(reader.read_file(f"{number}.yaml", LIMIT), Content) for number in range(3))
        assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
