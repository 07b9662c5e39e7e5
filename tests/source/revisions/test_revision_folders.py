"""The exported folders hold exactly what a scan reads, however they came to be."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.core.source_revision import FetchFailure
from agent.source import safe_read, scan
from agent.source.folder import Folder, Scan
from agent.source.ownership import Owners
from agent.source.revisions import revision_folders
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.revision_folders import RevisionFolders
from tests.source.revisions.repositories import Files, Link, Submodule, Upstream, contents, mirror_of
from tests.support.git import CLEAN_ENVIRONMENT
from verification.builders.request_files import upload


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream.git")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "agent.source"


def opened(home: Path, path: str = "") -> RevisionFolders:
    folders = RevisionFolders(home, path)
    folders.open()
    return folders


def publish(folders: RevisionFolders, upstream: Upstream, files: Files, home: Path) -> str:
    commit = upstream.push(files)
    folders.publish(mirror_of(upstream, home), commit)
    return commit


def request(name: str) -> bytes:
    return upload(name).encode()


def names(home: Path) -> set[str]:
    return set(os.listdir(home)) - {"mirror.git", "exported", "current"}  # noqa: PTH208


def scanner(folder: Path) -> Folder:
    return Folder(folder, settle=0, owners=Owners(exempt=True))


MIXED: Files = {
    b"a.yaml": b"a",
    b"deep/er/b.YML": b"b",
    b".hidden/c.yaml": b"c",
    b"readme.md": b"not exported",
    b"d.yaml.txt": b"a near miss",
    b".assureignore": b"old/\n",
    b"deep/.assureignore": b"not exported",
    b"new\nline.yaml": b"n",
    b"latin-\xe9.yaml": b"l",
    b"image.jpg": b"not exported",
    b"module": Submodule(),
    b"big.yaml": b"#" * ((1 << 20) + 1),
    b"full.yaml": b"#" * (1 << 20),
}

EXPORTED: Files = {
    b"a.yaml": b"a",
    b"deep": None,  # type: ignore[dict-item]
    b"deep/er": None,  # type: ignore[dict-item]
    b"deep/er/b.YML": b"b",
    b".hidden": None,  # type: ignore[dict-item]
    b".hidden/c.yaml": b"c",
    b"d.yaml.txt": b"",
    b".assureignore": b"old/\n",
    b"new\nline.yaml": b"n",
    b"latin-\xe9.yaml": b"l",
    b"big.yaml": (1 << 20) + 1,  # type: ignore[dict-item]
    b"full.yaml": b"#" * (1 << 20),
}


def test_only_what_a_scan_reads_is_exported(upstream: Upstream, home: Path) -> None:
    folders = opened(home)

    commit = publish(folders, upstream, MIXED, home)

    assert folders.published() == commit
    assert folders.current.resolve() == home / commit
    assert contents(folders.current) == EXPORTED
    assert (folders.current / "big.yaml").stat().st_blocks == 0


def test_only_the_agents_user_can_enter_and_read_it(upstream: Upstream, home: Path) -> None:
    home.mkdir(0o777)
    home.chmod(0o777)
    before = os.umask(0)
    try:
        publish(opened(home), upstream, {b"deep/a.yaml": b"a", b"b.yaml~": b""}, home)
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (home / "current").rglob("*")}
    assert modes == {"deep": 0o700, "a.yaml": 0o600, "b.yaml~": 0o600}
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE((home / "current").stat().st_mode) == 0o700


def test_only_the_folder_of_source_path_is_exported(upstream: Upstream, home: Path) -> None:
    folders = opened(home, "team/specs")
    publish(folders, upstream, {b"team/specs/a.yaml": b"a", b"team/b.yaml": b"b", b"c.yaml": b"c"}, home)
    assert contents(folders.current) == {b"a.yaml": b"a"}

    publish(folders, upstream, {b"team/specs/x/a.yaml": b"a", b"team/b.yaml": b"2", b"c.yaml": b"c"}, home)
    assert contents(folders.current) == {b"x": None, b"x/a.yaml": b"a"}


def test_the_last_two_revisions_are_kept(upstream: Upstream, home: Path) -> None:
    folders, mine = opened(home), []
    for number in range(4):
        mine.append(publish(folders, upstream, {b"a.yaml": b"%d" % number, b"b.yaml": b"b"}, home))
        assert contents(folders.current) == {b"a.yaml": b"%d" % number, b"b.yaml": b"b"}
        expected = {mine[0], f"{mine[0]}.spare"} if number == 0 else set(mine[-2:])
        assert names(home) == expected


def test_a_revision_of_an_unknown_history_is_exported_as_a_whole(upstream: Upstream, home: Path) -> None:
    """The mirror was replaced, and lacks the revisions that are exported."""
    folders = opened(home)
    publish(folders, upstream, {b"a.yaml": b"1"}, home)
    second = publish(folders, upstream, {b"a.yaml": b"2"}, home)
    shutil.rmtree(home / "mirror.git")

    commit = upstream.push({b"b.yaml": b"3"}, replace=True)
    folders.publish(mirror_of(upstream, home), commit)

    assert contents(folders.current) == {b"b.yaml": b"3"}
    assert names(home) == {second, commit}


def test_the_revision_before_is_published_again_without_git(upstream: Upstream, home: Path) -> None:
    folders = opened(home)
    first = publish(folders, upstream, {b"a.yaml": b"1"}, home)
    publish(folders, upstream, {b"a.yaml": b"2"}, home)

    folders.publish(None, first)  # type: ignore[arg-type]

    assert folders.published() == first
    assert contents(folders.current) == {b"a.yaml": b"1"}


class Reads:
    """Counts the request files that scans read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        original = safe_read.FolderReader.read_file

        def counted(reader: safe_read.FolderReader, name: str, limit: int) -> object:
            self.names.append(name)
            return original(reader, name, limit)

        monkeypatch.setattr(scan.FolderReader, "read_file", counted)

    def of(self, folder: Folder) -> list[str]:
        """The files that the next scan of a folder reads."""
        self.names.clear()
        assert folder.scan().proves_absence
        return sorted(self.names)


def test_a_scan_reads_only_changed_files(upstream: Upstream, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders, reads = opened(home), Reads(monkeypatch)
    files = {b"folder/%d.yaml" % number: request(f"r{number}") for number in range(20)}
    publish(folders, upstream, files, home)
    folder = scanner(folders.current)
    assert len(reads.of(folder)) == 20

    publish(folders, upstream, files | {b"folder/3.yaml": request("x3")}, home)
    assert reads.of(folder) == ["3.yaml"]

    publish(folders, upstream, files | {b"folder/3.yaml": request("x3"), b"folder/5.yaml": request("x5")}, home)
    assert reads.of(folder) == ["3.yaml", "5.yaml"]  # the older folder did not have the change before

    publish(folders, upstream, files | {b"folder/3.yaml": request("x3"), b"folder/5.yaml": request("y5")}, home)
    assert reads.of(folder) == ["5.yaml"]
    assert {document.name for document in folder.scan().documents.values()} >= {"x3", "y5", "r4"}


def test_unchanged_files_remain_the_same_files(upstream: Upstream, home: Path) -> None:
    folders = opened(home)
    publish(folders, upstream, {b"a.yaml": b"a", b"b.yaml": b"1"}, home)
    before = safe_read.file_identity((folders.current / "a.yaml").stat())

    publish(folders, upstream, {b"a.yaml": b"a", b"b.yaml": b"2"}, home)

    assert safe_read.file_identity((folders.current / "a.yaml").stat()) == before


def test_without_hard_links_each_revision_has_its_own_files(
    upstream: Upstream, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    folders = opened(home)
    for number in range(4):
        publish(folders, upstream, {b"x/a.yaml": b"%d" % number, b"x/b.yaml": b"b"}, home)
        assert contents(folders.current) == {b"x": None, b"x/a.yaml": b"%d" % number, b"x/b.yaml": b"b"}
    assert len(names(home)) == 2


@pytest.mark.parametrize("what", ["boot", "path", "version"])
def test_folders_of_another_boot_path_or_version_are_discarded(
    upstream: Upstream, home: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folders = opened(home)
    commit = publish(folders, upstream, {b"a.yaml": b"a", b"x/a.yaml": b"x"}, home)
    assert opened(home).published() == commit

    if what == "boot":
        monkeypatch.setattr(revision_folders, "boot_id", lambda: "another")
    elif what == "version":
        monkeypatch.setattr(revision_folders, "version", lambda _: "99")
    folders = opened(home, "x" if what == "path" else "")

    assert folders.published() is None
    assert names(home) == set()
    folders.publish(mirror_of(upstream, home), commit)
    assert contents(folders.current) == ({b"a.yaml": b"x"} if what == "path" else contents(home / commit))


def test_folders_are_discarded_if_the_boot_is_not_known(
    upstream: Upstream, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision_folders, "boot_id", lambda: "")
    publish(opened(home), upstream, {b"a.yaml": b"a"}, home)
    assert opened(home).published() is None


def test_a_folder_that_somebody_changed_is_exported_again(upstream: Upstream, home: Path) -> None:
    folders = opened(home)
    first = publish(folders, upstream, {b"a/b.yaml": b"1"}, home)
    (home / f"{first}.spare" / "a/b.yaml").unlink()
    (home / f"{first}.spare" / "a").rmdir()
    (home / f"{first}.spare" / "a").symlink_to(home.parent)

    publish(folders, upstream, {b"a/b.yaml": b"1", b"a/c.yaml": b"2"}, home)

    assert contents(folders.current) == {b"a": None, b"a/b.yaml": b"1", b"a/c.yaml": b"2"}
    assert not (home.parent / "c.yaml").exists()


def test_a_full_disk_leaves_the_current_revision(
    upstream: Upstream, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = opened(home)
    first = publish(folders, upstream, {b"a.yaml": b"1"}, home)
    mirror, second = mirror_of(upstream, home), upstream.push({b"a.yaml": b"2"})
    mirror.fetch()
    original = os.write

    def full(file: int, content: bytes) -> int:
        if bytes(content) == b"2":
            raise OSError(28, "No space left on device")
        return original(file, content)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(FetchError) as caught:
            folders.publish(mirror, second)
    assert caught.value.failure is FetchFailure.DISK
    assert folders.published() == first
    assert contents(folders.current) == {b"a.yaml": b"1"}

    folders.publish(mirror, second)
    assert contents(folders.current) == {b"a.yaml": b"2"}


# Names that exclude each other, so that sequences contain changes of the type of an entry.
_PARTS = st.sampled_from([b"a.yaml", b"b", b".c", b"d.yml~", b"e.txt", b"..data"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map(b"/".join)
_TARGETS = st.builds(
    lambda up, path, after: Link(b"../" * up + path + after),
    st.integers(0, 2),
    _PATHS,
    st.sampled_from([b"", b"", b"/.", b"/"]),
)
_CONTENTS = st.one_of(st.sampled_from([b"1", b"2", b""]), _TARGETS, st.just(Submodule()))


def _without_conflicts(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {path: content for path, content in files.items() if not any(path.startswith(p + b"/") for p in files)}


_TREES = st.dictionaries(_PATHS, _CONTENTS, max_size=8).map(_without_conflicts)
_HISTORIES = st.lists(_TREES, min_size=2, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(_HISTORIES)
@example([{b"b": b"1"}, {b"b/a.yaml": b"1"}, {b"b": Link(b".c")}, {b"b/a.yaml": b"2"}, {b"b/a.yaml/a.yaml": b"1"}])
@example([{b"a.yaml/a.yaml": b"1"}, {b"a.yaml": b"1"}, {b"a.yaml": Link(b"e.txt"), b"e.txt": b"1"}, {b"a.yaml": b"1"}])
@example([{b"b": Link(b"e.txt"), b"e.txt/b": b"1"}] * 2 + [{b"e.txt/b": b"1"}, {b"e.txt/a.yaml": b"1"}, {}])
@example([{b"a.yaml": Link(b"d.yml~"), b"d.yml~": b"1"}, {b"d.yml~": b"1"}, {b"d.yml~": b"2"}])
@example(
    [{}, {b"b/e.txt": b"1", b"d.yml~": Link(b"b/e.txt/.")}, {b"b/e.txt": b"1", b"d.yml~": Link(b"b/e.txt/../e.txt")}]
)
@example([{b"b/e.txt": b"1", b"a.yaml": Link(b"b/e.txt/."), b"c.yaml": Link(b"b/e.txt/../e.txt")}, {}])
def test_an_incremental_export_equals_a_fresh_one(
    tmp_path_factory: pytest.TempPathFactory, history: list[Files]
) -> None:
    """It also equals a checkout, as far as a scan sees it."""
    place = tmp_path_factory.mktemp("history")
    upstream, home = Upstream(place / "upstream.git"), place / "home"
    folders = opened(home)
    mirror = mirror_of_empty(upstream, home)
    for number, files in enumerate(history):
        commit = upstream.push(files)
        mirror.fetch()
        folders.publish(mirror, commit)
        fresh = opened(place / f"fresh{number}")
        fresh.publish(mirror, commit)
        assert contents(folders.current) == contents(fresh.current)
        assert seen(scanner(folders.current).scan()) == seen(scanner(checkout(upstream, place / f"c{number}")).scan())


def mirror_of_empty(upstream: Upstream, home: Path):  # type: ignore[no-untyped-def]
    upstream.push({b"first.txt": b""})
    return mirror_of(upstream, home)


def checkout(upstream: Upstream, place: Path) -> Path:
    """A plain checkout of the branch, in a folder without anything beside it."""
    work = place / "inner" / "work"
    work.mkdir(parents=True)
    command = ["git", f"--git-dir={upstream.folder}", f"--work-tree={work}", "checkout", "-q", "-f", "main", "--", "."]
    if upstream.git("ls-tree", "main"):
        (place / "index").unlink(missing_ok=True)
        subprocess.run(command, cwd=work, check=True, env=CLEAN_ENVIRONMENT | {"GIT_INDEX_FILE": str(place / "index")})
    return work


def seen(found: Scan) -> object:
    """All that a scan says, except where the folder is."""
    return (
        found.complete,
        found.files,
        {name: (one.file, one.line, one.canonical) for name, one in found.documents.items()},
        sorted((fault.file, fault.line or 0, fault.message) for fault in found.faults),
        found.claimed,
        found.broken_files,
        sorted(found.broken_folders),
        found.passed_over,
    )


def test_a_scan_equals_that_of_a_checkout(upstream: Upstream, home: Path, tmp_path: Path) -> None:
    files = {
        **MIXED,
        b"ok.yaml": request("ok"),
        b"twice.yaml": request("ok-2") + b"---\n" + request("ok-3"),
        b"again.yml": request("ok-3"),
        b"..2026/map.yaml": request("map"),
        b"..data": Link(b"..2026"),
        b"map.yaml": Link(b"..data/map.yaml"),
        b"plain": Link(b".hidden"),
        b".hidden/d.yaml": request("hidden"),
        b"old/ignored.yaml": request("ignored"),
        b"to-text.yaml": Link(b"templates/one.txt"),
        b"templates/one.txt": request("from-text"),
        b"licence": Link(b"readme.md"),
        b"docs": Link(b"manual/pages"),
        b"manual/pages/1.md": b"page",
        b"chain.yaml": Link(b"chain-2"),
        b"chain-2": Link(b"templates/../templates/two.txt"),
        b"templates/two.txt": request("chained"),
        b"out.yaml": Link(b"/etc/passwd"),
        b"out": Link(b"/etc"),
        b"nowhere": Link(b"gone"),
        b"loop.yaml": Link(b"loop.yaml"),
        b"near.yaml~": Link(b"readme.md"),
        b"to-module": Link(b"module"),
    }
    folders = opened(home)
    publish(folders, upstream, {b"ok.yaml": request("ok")}, home)
    publish(folders, upstream, files, home)

    found = scanner(folders.current).scan()

    assert seen(found) == seen(scanner(checkout(upstream, tmp_path / "plain")).scan())
    assert {"ok", "ok-2", "hidden", "from-text", "chained"} <= found.documents.keys()
    assert not found.exposed
