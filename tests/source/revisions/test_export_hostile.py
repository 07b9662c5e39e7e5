"""A hostile repository writes nothing outside of the exported folder, runs nothing, and costs a bounded amount."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.source_revision import FetchFailure
from agent.source.folder import Folder
from agent.source.revisions import selection
from agent.source.revisions.export import ExportedFolder
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.mirror import TreeEntry
from agent.source.revisions.revision_folders import RevisionFolders
from tests.source.revisions.repositories import FILE, FOLDER, LINK, SUBMODULE, Link, Upstream, contents


class Objects:
    """A mirror that has every object that the upstream has, valid or not, as a fetch without checks would bring it."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def entries(self, commit: str, path: str) -> list[TreeEntry]:
        listed = self._raw("ls-tree", "-r", "-z", f"{commit}:{path}")
        found = []
        for record in listed.split(b"\0")[:-1]:
            about, _, name = record.partition(b"\t")
            mode, _, blob = about.decode().split(" ")
            found.append(TreeEntry(name, int(mode, 8), blob))
        return found

    def changed_entries(self, old: str, new: str, path: str) -> list[tuple[bytes, TreeEntry | None]]:
        listed = self._raw("diff-tree", "-r", "-z", "--no-renames", "--no-abbrev", f"{old}:{path}", f"{new}:{path}")
        words = iter(listed.split(b"\0")[:-1])
        found: list[tuple[bytes, TreeEntry | None]] = []
        for about in words:
            name, (_, mode, _, blob, _) = next(words), about.decode().split(" ")
            found.append((name, TreeEntry(name, int(mode, 8), blob) if int(mode, 8) else None))
        return found

    def fetch_blobs(self, blobs: list[str]) -> None:
        """They are all there."""

    def contents(self, blobs: list[str], limit: int) -> list[tuple[str, bytes | int]]:
        found = [(blob, self._raw("cat-file", "blob", blob)) for blob in blobs]
        return [(blob, content if len(content) <= limit else len(content)) for blob, content in found]

    def _raw(self, *arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=self._upstream.folder, capture_output=True, check=True).stdout


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream.git")


@pytest.fixture
def folders(tmp_path: Path) -> RevisionFolders:
    folders = RevisionFolders(tmp_path / "place" / "home", "")
    folders.open()
    return folders


Tree = list[tuple[str, bytes, str]]


def damaged(upstream: Upstream) -> dict[str, Callable[[], Tree]]:
    """Trees that cannot be exported."""
    content, evil = upstream.store(b"evil"), upstream.store(b"../..")
    absolute = upstream.store(os.fsencode(upstream.folder.parent))
    file = [(FILE, b"x.yaml", content)]
    inner = upstream.tree(file)
    return {
        "dot git": lambda: [(FOLDER, b".git", inner)],
        "dot GIT": lambda: [(FOLDER, b"a", upstream.tree([(FOLDER, b".GiT", inner)]))],
        "file .git": lambda: [(FILE, b".git", content)],
        "above": lambda: [(FOLDER, b"..", inner)],
        "link above": lambda: [(LINK, b"..", evil)],
        "dot": lambda: [(FOLDER, b".", inner)],
        "slashes": lambda: [(FILE, b"../../x.yaml", content)],
        "absolute": lambda: [(FILE, b"/x.yaml", content)],
        "twice": lambda: file * 2,
        "file and folder": lambda: [(FILE, b"a.yaml", content), (FOLDER, b"a.yaml", inner)],
        "folder and file": lambda: [(FOLDER, b"a.yaml", inner), (FILE, b"a.yaml", content)],
        "link and folder": lambda: [(LINK, b"a", absolute), (FOLDER, b"a", inner)],
        "folder and link": lambda: [(FOLDER, b"a", inner), (LINK, b"a", absolute)],
        "link twice": lambda: [(LINK, b"a", absolute), (LINK, b"a", evil)],
        "long name": lambda: [(FILE, b"x" * 256 + b".yaml", content)],
        "submodule .git": lambda: [(SUBMODULE, b".git", "1" * 40)],
    }


KINDS = [
    "dot git", "dot GIT", "file .git", "above", "link above", "dot", "slashes", "absolute", "twice", "file and folder",
    "folder and file", "link and folder", "folder and link", "link twice", "long name", "submodule .git",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_a_damaged_tree_is_refused(upstream: Upstream, folders: RevisionFolders, kind: str, first: bool) -> None:
    mirror, place = Objects(upstream), folders.current.parent.parent
    good = upstream.commit_tree(upstream.tree([(FILE, b"ok.yaml", upstream.store(b"ok"))]), [])
    if not first:
        folders.publish(mirror, good)  # type: ignore[arg-type]
    bad = upstream.commit_tree(upstream.tree([*damaged(upstream)[kind](), (FILE, b"z.yaml", upstream.store(b"z"))]), [])

    with pytest.raises(FetchError) as caught:
        folders.publish(mirror, bad)  # type: ignore[arg-type]

    assert caught.value.failure is FetchFailure.DAMAGED
    assert folders.published() == (None if first else good)
    assert os.listdir(place) == ["home"]  # noqa: PTH208
    assert not any(name.startswith(".") or name == bad for name in os.listdir(place / "home"))  # noqa: PTH208
    assert not (upstream.folder.parent / "x.yaml").exists()
    folders.publish(mirror, good)  # type: ignore[arg-type]
    assert contents(folders.current) == {b"ok.yaml": b"ok"}


@pytest.mark.parametrize("before", [b"a", b"b"])
def test_a_link_that_becomes_a_folder_is_never_followed(
    upstream: Upstream, folders: RevisionFolders, tmp_path: Path, before: bytes
) -> None:
    """The folder of the older revision has the link when the new one is written."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.yaml").write_text("mine")
    mirror, link = Objects(upstream), Link(os.fsencode(victim))
    for files in ({before: link}, {before: link}, {b"a/x.yaml": b"1"}, {before: link}, {b"a/x.yaml": b"2"}, {}):
        folders.publish(mirror, upstream.push(files))  # type: ignore[arg-type]
        assert set(contents(folders.current)) >= set(files)

    assert contents(victim) == {b"x.yaml": b"mine"}
    assert contents(folders.current) == {}


def test_links_without_a_valid_target_lead_nowhere(upstream: Upstream, folders: RevisionFolders) -> None:
    targets = [b"", b"a\0b", b"x" * 5000, b"y/" * 2040, b"z" * 300]
    commit = upstream.push({b"%d.yaml" % number: Link(target) for number, target in enumerate(targets)})

    folders.publish(Objects(upstream), commit)  # type: ignore[arg-type]

    found = Folder(folders.current, settle=0).scan()
    assert len(found.faults) == len(targets)
    assert found.proves_absence


def test_links_out_are_exported_as_links_and_not_read(
    upstream: Upstream, folders: RevisionFolders, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("secret")
    files = {
        b"absolute.yaml": Link(os.fsencode(secret)),
        b"relative.yaml": Link(b"../../../secret.yaml"),
        b"folder": Link(os.fsencode(tmp_path)),
        b"marker.yaml": Link(b"../exported"),
    }

    folders.publish(Objects(upstream), upstream.push(files))  # type: ignore[arg-type]

    found = Folder(folders.current, settle=0).scan()
    assert contents(folders.current) == files
    assert len(found.faults) == 4
    assert not found.documents


def test_a_deep_tree_is_refused(upstream: Upstream, folders: RevisionFolders) -> None:
    deep = upstream.push({b"d/" * 100 + b"a.yaml": b"1"})
    folders.publish(Objects(upstream), deep)  # type: ignore[arg-type]
    deeper = upstream.push({b"d/" * 101 + b"a.yaml": b"1"})
    with pytest.raises(FetchError, match="too long"):
        folders.publish(Objects(upstream), deeper)  # type: ignore[arg-type]
    beside = upstream.push({b"d/" * 101 + b"a.txt": b"1"})
    folders.publish(Objects(upstream), beside)  # type: ignore[arg-type]


def test_links_that_lead_through_many_links_are_bounded(
    upstream: Upstream, folders: RevisionFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_MOST_STEPS", 10_000)
    files = {b"%d" % number: Link(b"./" * 500 + b"%d" % (number + 1)) for number in range(100)}
    with pytest.raises(FetchError) as caught:
        folders.publish(Objects(upstream), upstream.push(files))  # type: ignore[arg-type]
    assert caught.value.failure is FetchFailure.TOO_LARGE


def test_the_number_of_entries_is_bounded(
    upstream: Upstream, folders: RevisionFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_MOST_ENTRIES", 10)
    many = upstream.push({b"%d.txt" % n: b"" for n in range(11)})
    for _ in range(2):  # as the first revision, and as a later one
        with pytest.raises(FetchError) as caught:
            folders.publish(Objects(upstream), many)  # type: ignore[arg-type]
        assert caught.value.failure is FetchFailure.TOO_LARGE
        folders.publish(Objects(upstream), upstream.push({}))  # type: ignore[arg-type]


def test_attributes_and_hooks_of_the_repository_change_nothing(
    upstream: Upstream, folders: RevisionFolders, tmp_path: Path
) -> None:
    """No filter runs, no line ending changes, and no word is expanded."""
    files = {
        b".gitattributes": b"*.yaml filter=evil ident text eol=crlf export-ignore export-subst\n",
        b"a.yaml": b"# $Id$ $Format:%H$\n",
        b"hooks/post-checkout": b"#!/bin/sh\ntouch %b/ran\n" % os.fsencode(tmp_path),
    }
    folders.publish(Objects(upstream), upstream.push(files))  # type: ignore[arg-type]
    assert contents(folders.current) == {b"a.yaml": files[b"a.yaml"]}


def test_an_existing_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path)
    (tmp_path / "root" / "b.yaml").symlink_to(tmp_path / "b.yaml")
    with ExportedFolder(tmp_path / "root") as folder:
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            folder.write(b"a/x.yaml", b"x")
        with pytest.raises(FileExistsError):
            folder.write(b"b.yaml", b"x")
        folder.remove(b"a/root/b.yaml")
        folder.write(b"c.yaml", b"c")
    assert sorted(contents(tmp_path)) == [b"root", b"root/a", b"root/b.yaml", b"root/c.yaml"]
