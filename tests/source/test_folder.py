"""Scans of a folder: real files, injected clocks, no sleeps."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.source import folder as module
from agent.source.folder import Folder, Scan
from agent.source.safe_read import Content, FolderReader, ReadFailure
from verification.builders.request_files import capture, upload, write


class Clocks:
    """Every file is old, unless `now` is set. `ticks` is the clock that never jumps."""

    def __init__(self) -> None:
        self.now: float | None = None
        self.ticks = 0.0

    def folder(self, path: Path) -> Folder:
        return Folder(path, now=lambda: 1e11 if self.now is None else self.now, monotonic=lambda: self.ticks)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    path = tmp_path / "specs"
    path.mkdir()
    return path


@pytest.fixture
def scan(specs: Path, clocks: Clocks) -> Callable[[], Scan]:
    return clocks.folder(specs).scan


def messages(scan: Scan) -> list[str]:
    return [str(fault) for fault in scan.faults]


def test_every_request_below_the_folder_is_found(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "a.yaml", upload("a"))
    write(specs / "team/deep/b.yml", f"{upload('b')}---\n{capture('c')}")
    write(specs / "README.md", "not a request")
    write(specs / ".hidden.yaml", "not: read")
    write(specs / ".git/d.yaml", "not: read")
    found = scan()
    assert {name: one.file for name, one in found.documents.items()} == {
        "a": "a.yaml",
        "b": "team/deep/b.yml",
        "c": "team/deep/b.yml",
    }
    assert (found.complete, found.retry_after, found.files, found.faults, found.error) == (True, None, 2, (), None)
    assert found.root is not None
    assert (found.root.path, found.root.inode) == (str(specs), specs.stat().st_ino)


def test_the_next_scan_finds_added_changed_removed_and_renamed_files(specs: Path, scan: Callable[[], Scan]) -> None:
    first = write(specs / "a.yaml", upload("a"))
    assert set(scan().documents) == {"a"}
    write(specs / "b.yaml", upload("b"))
    assert set(scan().documents) == {"a", "b"}
    write(first, upload("a").replace("137", "138"))
    upload_of_a = scan().documents["a"].request.spec.upload
    assert upload_of_a is not None
    assert upload_of_a.document_id == 138
    first.rename(specs / "c.yaml")
    assert scan().documents["a"].file == "c.yaml"
    (specs / "c.yaml").unlink()
    found = scan()
    assert set(found.documents) == {"b"}
    assert found.claimed == frozenset()


def test_an_unchanged_folder_costs_no_read_and_no_new_result(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(specs / "a.yaml", upload("a"))
    write(specs / "b.yaml", "broken: [")
    os.mkfifo(specs / "c.yaml")
    before = scan()
    monkeypatch.setattr(FolderReader, "read_file", None)
    monkeypatch.setattr(module, "_merge_files", None)
    after = scan()
    assert after.documents is before.documents
    assert after.faults == before.faults


def test_changed_files_cost_no_merge_of_all_files(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write(specs / f"{name}.yaml", upload(name))
    before = scan()
    monkeypatch.setattr(module, "_merge_files", None)
    write(specs / "a.yaml", upload("a") + "  suspend: true\n")
    (specs / "b.yaml").unlink()
    (specs / "c.yaml").rename(specs / "d.yaml")
    write(specs / "e.yaml", upload("e"))
    after = scan()
    assert {name: one.file for name, one in after.documents.items()} == {"a": "a.yaml", "c": "d.yaml", "e": "e.yaml"}
    assert after.documents["a"] != before.documents["a"]
    assert set(before.documents) == {"a", "b", "c"}


@pytest.mark.parametrize("seed", range(5))
def test_a_scan_after_changes_finds_the_same_as_a_first_scan(specs: Path, clocks: Clocks, seed: int) -> None:
    random, folder = Random(seed), clocks.folder(specs)
    for _ in range(40):
        for _ in range(random.randint(1, 2)):
            file = specs / f"{random.choice('abcdef')}.yaml"
            if random.random() < 0.3:
                file.unlink(missing_ok=True)
            else:
                names = [f"n-{random.randint(1, 8)}" for _ in range(random.randint(1, 2))]
                write(file, "---\n".join(map(upload, names)) + random.choice(["", "", "  mistake: 1\n"]))
        found, expected = folder.scan(), clocks.folder(specs).scan()
        assert found.documents == expected.documents
        assert (found.faults, found.claimed) == (expected.faults, expected.claimed)
        assert found.broken_files == expected.broken_files


def test_a_file_is_read_once_it_has_not_changed_for_a_quarter_of_a_second(
    specs: Path, clocks: Clocks, scan: Callable[[], Scan]
) -> None:
    changed_at = write(specs / "a.yaml", upload("a")).stat().st_ctime
    clocks.now = changed_at + 0.2
    found = scan()
    assert (found.proves_absence, found.files, dict(found.documents)) == (False, 1, {})
    clocks.now = changed_at + 0.26
    found = scan()
    assert (found.retry_after is not None, set(found.documents)) == (False, {"a"})


def test_until_then_its_previous_content_counts(specs: Path, clocks: Clocks, scan: Callable[[], Scan]) -> None:
    file = write(specs / "a.yaml", upload("a"))
    before = scan()
    clocks.now = write(file, upload("a")[:50]).stat().st_ctime  # half-written
    found = scan()
    assert found.retry_after is not None
    assert found.documents is before.documents
    clocks.now = write(file, upload("a").replace("137", "138")).stat().st_ctime + 1
    found = scan()
    assert found.retry_after is None
    assert found.documents["a"].canonical != before.documents["a"].canonical


def test_a_file_from_the_future_is_read_when_it_is_unchanged_for_long_enough(
    specs: Path, clocks: Clocks, scan: Callable[[], Scan]
) -> None:
    clocks.now = write(specs / "a.yaml", upload("a")).stat().st_ctime - 3600
    assert scan().retry_after is not None
    clocks.ticks += 0.2
    assert scan().retry_after is not None
    clocks.ticks += 0.1
    found = scan()
    assert (found.retry_after is not None, set(found.documents)) == (False, {"a"})


def test_a_file_from_the_future_that_keeps_changing_is_not_read(
    specs: Path, clocks: Clocks, scan: Callable[[], Scan]
) -> None:
    file = write(specs / "a.yaml", upload("a"))
    clocks.now = file.stat().st_ctime - 3600
    for number in range(5):
        write(file, upload("a") + "#" * number)
        clocks.ticks += 0.3
        assert scan().retry_after is not None
    clocks.ticks += 0.3
    assert scan().retry_after is None


def test_a_file_that_changes_while_it_is_read_is_left_for_later(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(specs / "a.yaml", upload("a"))
    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "read_file", lambda *_: ReadFailure.CHANGING)
        assert scan().retry_after is not None
    found = scan()
    assert (found.retry_after is not None, set(found.documents)) == (False, {"a"})


def test_all_documents_that_share_a_name_are_refused_and_name_each_other(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "a.yaml", upload("same"))
    write(specs / "b.yaml", f"{upload('other')}---\n{capture('same')}")
    found = scan()
    assert set(found.documents) == {"other"}
    assert found.claimed == {"same"}
    assert messages(found) == [
        "a.yaml:1:1: metadata.name is not unique; it is also used at b.yaml:12",
        "b.yaml:12:1: metadata.name is not unique; it is also used at a.yaml:1",
    ]
    (specs / "a.yaml").unlink()
    found = scan()
    assert set(found.documents) == {"other", "same"}
    assert found.claimed == frozenset()


def test_a_name_shared_by_many_names_five_of_the_others(specs: Path, scan: Callable[[], Scan]) -> None:
    for number in range(8):
        write(specs / f"{number}.yaml", upload("same"))
    found = scan()
    assert len(found.faults) == 8
    assert found.faults[0].message.endswith("5.yaml:1 and 2 more")


def test_an_invalid_file_does_not_delay_other_files(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "a.yaml", upload("a"))
    write(specs / "b.yaml", b"[" * 100_000)
    write(specs / "c.yaml", b"x" * (2 << 20))
    write(specs / "d.yaml", b"\xff\x00")
    found = scan()
    assert set(found.documents) == {"a"}
    assert found.complete
    assert {fault.file for fault in found.faults} == found.broken_files == {"b.yaml", "c.yaml", "d.yaml"}


def test_a_document_that_becomes_wrong_keeps_its_name_claimed(specs: Path, scan: Callable[[], Scan]) -> None:
    file = write(specs / "a.yaml", upload("a"))
    scan()
    write(file, upload("a").replace("137", "x"))
    found = scan()
    assert (dict(found.documents), found.claimed) == ({}, {"a"})
    assert found.broken_files == frozenset()  # its name could be read


@pytest.mark.parametrize("broken", ["a: [", "\0", upload("A B").replace("A B/", "a/")])
def test_a_file_that_can_no_longer_be_read_keeps_its_names_claimed(
    specs: Path, scan: Callable[[], Scan], broken: str
) -> None:
    file = write(specs / "a.yaml", f"{upload('a')}---\n{upload('b')}")
    scan()
    write(file, broken)
    assert scan().claimed == {"a", "b"}
    write(file, broken + "#")  # still broken: still claimed
    found = scan()
    assert found.claimed == {"a", "b"}
    assert found.broken_files == {"a.yaml"}
    write(file, upload("a"))
    found = scan()
    assert (set(found.documents), found.claimed) == ({"a"}, frozenset())


def test_a_name_that_moved_to_a_good_file_is_not_claimed_by_the_broken_one(
    specs: Path, scan: Callable[[], Scan]
) -> None:
    file = write(specs / "a.yaml", upload("a"))
    scan()
    write(file, "a: [")
    write(specs / "b.yaml", upload("a"))
    found = scan()
    assert set(found.documents) == {"a"}
    assert found.claimed == frozenset()


def test_a_source_folder_that_is_a_link_is_resolved_again_by_each_scan(tmp_path: Path, clocks: Clocks) -> None:
    for version in ("one", "two"):
        write(tmp_path / version / "a.yaml", upload("a").replace("137", "1" if version == "one" else "2"))
    link = tmp_path / "current"
    link.symlink_to("one")
    folder = clocks.folder(link)
    before = folder.scan()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    after = folder.scan()
    assert before.documents["a"].canonical != after.documents["a"].canonical
    assert before.root is not None
    assert after.root is not None
    assert before.root.inode != after.root.inode
    assert after.root.path.endswith("two")


def test_a_mounted_config_map_is_read_and_its_swap_is_seen(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "..v1/a.yaml", upload("a"))
    write(specs / "..v2/a.yaml", upload("a").replace("137", "138"))
    (specs / "..data").symlink_to("..v1")
    (specs / "a.yaml").symlink_to("..data/a.yaml")
    before = scan()
    assert (set(before.documents), before.faults) == ({"a"}, ())
    (specs / "..data_tmp").symlink_to("..v2")
    (specs / "..data_tmp").rename(specs / "..data")
    assert scan().documents["a"].canonical != before.documents["a"].canonical


def test_a_link_that_leads_out_or_nowhere_is_refused(tmp_path: Path, specs: Path, scan: Callable[[], Scan]) -> None:
    write(tmp_path / "secret.yaml", upload("secret"))
    (specs / "out.yaml").symlink_to("../secret.yaml")
    (specs / "nowhere.yaml").symlink_to("missing.yaml")
    (specs / "loop.yaml").symlink_to("loop.yaml")
    found = scan()
    assert dict(found.documents) == {}
    assert found.complete
    assert messages(found) == [
        "loop.yaml:1:1: the file does not exist, or is a link that leads nowhere",
        "nowhere.yaml:1:1: the file does not exist, or is a link that leads nowhere",
        "out.yaml:1:1: the link leads out of the source folder",
    ]
    assert scan().faults == found.faults


def test_a_good_file_that_becomes_a_link_out_keeps_its_name_claimed(
    tmp_path: Path, specs: Path, scan: Callable[[], Scan]
) -> None:
    file = write(specs / "a.yaml", upload("a"))
    scan()
    write(tmp_path / "secret.yaml", upload("secret"))
    file.unlink()
    file.symlink_to(tmp_path / "secret.yaml")
    found = scan()
    assert (dict(found.documents), found.claimed) == ({}, {"a"})


def test_a_linked_folder_that_leads_out_or_nowhere_is_refused_and_keeps_its_names(
    tmp_path: Path, specs: Path, scan: Callable[[], Scan]
) -> None:
    """[I1] The folder was moved away and replaced by a link: its requests are not absent."""
    write(specs / "team/a.yaml", upload("a"))
    write(specs / "other/b.yaml", upload("b"))
    assert set(scan().documents) == {"a", "b"}
    (specs / "team").rename(tmp_path / "team")
    (specs / "team").symlink_to(tmp_path / "team")
    (specs / "other").rename(tmp_path / "other")
    (specs / "other").symlink_to("nowhere")
    for _ in range(3):
        found = scan()
        assert (dict(found.documents), found.claimed) == ({}, {"a", "b"})
        assert sorted(messages(found)) == [
            "other:1:1: the link leads nowhere",
            "team:1:1: the linked folder is outside of the source folder, so the agent does not read it",
        ]


def test_after_a_restart_the_files_below_a_link_that_leads_out_count_as_present(
    tmp_path: Path, specs: Path, scan: Callable[[], Scan]
) -> None:
    """[I1] The names are unknown then, but the records have the files."""
    write(tmp_path / "team/a.yaml", upload("a"))
    (specs / "team").symlink_to(tmp_path / "team")
    found = scan()
    assert found.complete
    assert found.may_hold("team/a.yaml")
    assert not found.may_hold("teams/a.yaml")


def test_a_linked_folder_is_followed_inside_of_the_source(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / ".releases/7/a.yaml", upload("a"))
    (specs / "current").symlink_to(".releases/7")
    (specs / ".releases/7/again").symlink_to("../7")  # a loop
    write(specs / "visible/b.yaml", upload("b"))
    (specs / "same").symlink_to("visible")  # read at its own place, once
    (specs / "top").symlink_to(".")
    found = scan()
    assert {name: one.file for name, one in found.documents.items()} == {"a": "current/a.yaml", "b": "visible/b.yaml"}
    assert found.faults == ()


def test_fifos_and_linked_folders_with_the_name_of_a_file_are_refused(
    tmp_path: Path, specs: Path, scan: Callable[[], Scan]
) -> None:
    write(tmp_path / "other/a.yaml", upload("a"))
    (specs / "linked.yaml").symlink_to(tmp_path / "other")
    os.mkfifo(specs / "fifo.yaml")
    found = scan()
    assert (dict(found.documents), found.files) == ({}, 1)
    assert messages(found) == [
        "fifo.yaml:1:1: the path is not a regular file",
        "linked.yaml:1:1: the linked folder is outside of the source folder, so the agent does not read it",
    ]


def test_file_endings_are_accepted_in_any_case_and_near_misses_are_reported(
    specs: Path, scan: Callable[[], Scan]
) -> None:
    write(specs / "a.YAML", upload("a"))
    write(specs / "b.Yml", upload("b"))
    for name in (
        "c.yaml.txt",
        "d.yaml~",
        "team/e.yml.bak",
        "f.yam",
        "g.txt",
        "h.md",
        "schema.json",
        "old.yaml.d/notes.txt",
    ):
        write(specs / name, upload("x"))
    found = scan()
    assert set(found.documents) == {"a", "b"}
    assert found.passed_over == ("c.yaml.txt", "d.yaml~", "f.yam", "team/e.yml.bak")


def test_the_ignore_list_passes_over_files_and_folders_and_may_change(
    specs: Path, scan: Callable[[], Scan], clocks: Clocks
) -> None:
    for name in ("a", "kustomization", "drafts/b", "drafts/keep", "c"):
        write(specs / f"{name}.yaml", upload(name.replace("/", "-")))
    write(specs / ".assureignore", "# not ours\nkustomization.yaml\n/drafts/*\n!/drafts/keep.yaml\n")
    found = scan()
    assert set(found.documents) == {"a", "c", "drafts-keep"}
    assert (found.files, found.faults, found.passed_over) == (3, (), ())
    write(specs / ".assureignore", "c.yaml\n")
    assert set(scan().documents) == {"a", "drafts-b", "drafts-keep", "kustomization"}
    (specs / ".assureignore").unlink()
    assert len(scan().documents) == 5


@pytest.mark.parametrize("content", [b"a.yaml\n!\n", b"\xff\xfe", b"x" * 70_000])
def test_without_a_readable_ignore_list_no_request_file_is_read(
    specs: Path, scan: Callable[[], Scan], content: bytes
) -> None:
    """[I2] It may name requests that would be billed."""
    write(specs / "a.yaml", upload("a"))
    assert set(scan().documents) == {"a"}
    (specs / ".assureignore").write_bytes(content)
    found = scan()
    assert (dict(found.documents), found.claimed, found.complete) == ({}, {"a"}, False)
    assert found.error is not None
    assert found.error.file == ".assureignore"


def test_a_scan_applies_an_ignore_list_that_came_with_the_file(specs: Path, scan: Callable[[], Scan]) -> None:
    """[I2]"""
    scan()
    write(specs / ".assureignore", "a.yaml\n")
    write(specs / "a.yaml", upload("a"))
    assert dict(scan().documents) == {}


def test_a_folder_called_like_a_file_is_a_folder(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "team.yaml/a.yaml", upload("a"))
    assert set(scan().documents) == {"a"}


def test_a_missing_source_folder_is_reported_and_withdraws_no_request(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "a.yaml", upload("a"))
    scan()
    specs.rename(specs.parent / "gone")
    found = scan()
    assert not found.complete
    assert found.claimed == {"a"}
    assert found.error is not None
    assert found.error.message == f"the source folder {specs} is missing"
    (specs.parent / "gone").rename(specs)
    assert set(scan().documents) == {"a"}


def test_a_source_that_is_a_file_is_reported(tmp_path: Path, clocks: Clocks) -> None:
    found = clocks.folder(write(tmp_path / "specs", "x")).scan()
    assert found.error is not None
    assert not found.complete


def refusing(real: Callable[..., Any], ending: str, error: type[OSError]) -> Callable[..., Any]:
    """A scandir that fails for one folder (permissions do not stop root)."""

    def scandir(path: str) -> Any:
        if path.endswith(ending):
            raise error(13 if error is PermissionError else 2, "simulated")
        return real(path)

    return scandir


def test_an_unreadable_folder_keeps_the_names_it_had(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(specs / "a.yaml", upload("a"))
    write(specs / "team/b.yaml", upload("b"))
    scan()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing(os.scandir, "/team/", PermissionError))
        for _ in range(2):
            found = scan()
            assert not found.complete
            assert (set(found.documents), found.claimed) == ({"a"}, {"b"})
            assert messages(found) == ["team/:1:1: the folder cannot be read"]
    found = scan()
    assert (found.complete, set(found.documents), found.claimed) == (True, {"a", "b"}, frozenset())


def test_a_folder_that_vanishes_while_it_is_scanned_proves_no_absence(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(specs / "team/b.yaml", upload("b"))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, "/team/", FileNotFoundError))
    found = scan()
    assert (found.retry_after is not None, found.faults) == (True, ())


def test_an_unreadable_file_keeps_the_names_it_had_and_is_tried_again(
    specs: Path, scan: Callable[[], Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(specs / "a.yaml", upload("a"))
    scan()
    write(file, upload("b"))
    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "read_file", lambda *_: ReadFailure.UNREADABLE)
        found = scan()
        assert (found.complete, dict(found.documents), found.claimed) == (False, {}, {"a"})
    found = scan()
    assert (found.complete, set(found.documents), found.claimed) == (True, {"b"}, frozenset())


def test_file_names_of_any_kind_are_shown_safely(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "Zoë 名.yaml", upload("a"))
    write(Path(os.fsdecode(os.fsencode(specs) + b"/bad\xff\n.yaml")), "x: [")
    found = scan()
    assert found.documents["a"].file == "Zoë 名.yaml"
    assert found.faults[0].file == "bad\\udcff\\n.yaml"


def test_an_emptied_folder_is_complete_and_empty(specs: Path, scan: Callable[[], Scan]) -> None:
    write(specs / "team/a.yaml", upload("a"))
    scan()
    shutil.rmtree(specs / "team")
    found = scan()
    assert (found.complete, found.files, dict(found.documents), found.claimed) == (True, 0, {}, frozenset())


# -- the cost of a scan ----------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened and read, in order."""
    paths: list[str] = []
    real = FolderReader.read_file

    def counted(reader: FolderReader, name: str, limit: int) -> Content | ReadFailure:
        paths.append(name)
        return real(reader, name, limit)

    monkeypatch.setattr(FolderReader, "read_file", counted)
    return paths


def test_one_scan_reads_a_file_and_the_scan_before_says_when(specs: Path, clocks: Clocks, reads: list[str]) -> None:
    folder = clocks.folder(specs)
    changed_at = write(specs / "a.yaml", upload("a")).stat().st_ctime
    clocks.now = changed_at + 0.1
    first = folder.scan()
    assert first.retry_after == pytest.approx(0.15, abs=1e-3)
    assert (dict(first.documents), first.proves_absence, reads) == ({}, False, [])
    clocks.now += first.retry_after + 1e-3
    second = folder.scan()
    assert (set(second.documents), second.retry_after, reads) == ({"a"}, None, ["a.yaml"])
    folder.scan()
    assert reads == ["a.yaml"]


def test_a_scan_waits_for_the_youngest_file(specs: Path, clocks: Clocks) -> None:
    folder = clocks.folder(specs)
    for name in "ab":
        write(specs / f"{name}.yaml", upload(name))
    os.utime(specs / "b.yaml")  # its ctime is now
    clocks.now = (specs / "b.yaml").stat().st_ctime + 0.05
    assert folder.scan().retry_after == pytest.approx(0.2, abs=0.02)


def test_a_scan_costs_one_stat_for_each_file_that_did_not_change(
    specs: Path, scan: Callable[[], Scan], reads: list[str]
) -> None:
    for number in range(20):
        write(specs / f"{number}.yaml", upload(f"a{number}"))
    first = scan()
    write(specs / "3.yaml", upload("a3").replace("137", "138"))
    reads.clear()
    second = scan()
    assert reads == ["3.yaml"]
    assert [name for name, one in second.documents.items() if first.documents[name] is not one] == ["a3"]


def test_an_unreadable_source_folder_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refused)
    found = Folder(tmp_path).scan().error
    assert found is not None
    assert ("cannot be read" in found.message, "create" in found.hint) == (True, False)
