"""Provenance of files, in repositories that a real git made."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from agent.source import git_objects
from agent.source import git_provenance as module
from agent.source.git_last_commit import Gap
from agent.source.git_objects import LIMIT, Damaged
from agent.source.git_provenance import GitCheckout, Provenance
from agent.source.git_repository import Repository, Unreadable, find
from tests.support.git import commit, git, repository
from verification.builders.request_files import write


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return repository(tmp_path / "a folder")


def repository_of(folder: Path) -> Repository:
    found = find(folder)
    assert found is not None
    return found


def about(folder: Path, *files: str) -> Sequence[Provenance]:
    found = GitCheckout(folder, timeout=60.0).query(files).provenance(files)
    return [found.get(file, Provenance()) for file in files]


def test_a_committed_file_has_its_commit_and_its_last_author(clone: Path) -> None:
    write(clone / "specs/a.yaml", "1")
    write(clone / "specs/té am/b.yaml", "1")
    commit(clone, by="Ann Other")
    write(clone / "specs/a.yaml", "2")
    head = commit(clone, by="Zoë Last")
    assert about(clone / "specs", "a.yaml") == [Provenance(commit=head, dirty=False, author="Zoë Last")]
    assert about(clone / "specs", "a.yaml", "té am/b.yaml") == [
        Provenance(commit=head, dirty=False, author="Zoë Last"),
        Provenance(commit=head, dirty=False, author="Ann Other"),
    ]


def test_a_path_that_is_changed_staged_untracked_or_ignored_is_dirty(clone: Path) -> None:
    for name in ("clean", "changed", "staged"):
        write(clone / f"specs/{name}.yaml", "1")
    write(clone / ".gitignore", "ignored.yaml\n")
    commit(clone)
    for name in ("changed", "staged", "untracked/untracked", "ignored"):
        write(clone / f"specs/{name}.yaml", "2")
    git(clone, "add", "specs/staged.yaml")
    names = [f"{name}.yaml" for name in ("clean", "changed", "staged", "untracked/untracked", "ignored")]
    found = about(clone / "specs", *names)
    assert [one.dirty for one in found] == [False, True, True, True, True]
    assert [one.author for one in found] == ["Somebody"] * 3 + [None] * 2


def test_many_files_are_followed_in_one_walk(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 2)
    names = [f"{number}.yaml" for number in range(6)]
    for name in names:
        write(clone / "specs" / name, "1")
    head = commit(clone)
    write(clone / "specs/3.yaml", "2")
    visit = GitCheckout(clone / "specs", timeout=60.0).query(names)
    first = visit.provenance(names[:4])
    assert {**first, **visit.provenance(names[4:])} == {
        name: Provenance(commit=head, dirty=name == "3.yaml", author="Somebody") for name in names
    }


def test_provenance_is_found_in_the_root_of_the_work_tree_and_in_a_linked_worktree(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    git(clone, "worktree", "add", "-q", "--detach", "../published", head)
    expected = [Provenance(commit=head, dirty=False, author="Somebody")]
    assert about(clone, "a.yaml") == expected
    assert about(clone.parent / "published", "a.yaml") == expected


def test_without_a_commit_there_is_no_provenance(clone: Path, tmp_path: Path) -> None:
    write(clone / "a.yaml", "1")
    assert about(clone, "a.yaml") == [Provenance()]  # nothing was ever committed
    assert about(tmp_path, "a.yaml") == [Provenance()]
    assert about(tmp_path / "missing", "a.yaml") == [Provenance()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_read(clone: Path) -> None:
    """[issue 14] Nothing is executed, so no trust as by `safe.directory` is needed."""
    write(clone / "a.yaml", "1")
    head = commit(clone)
    for path in (clone, *clone.rglob("*")):
        os.chown(path, 4711, 4711, follow_symlinks=False)
    assert about(clone, "a.yaml") == [Provenance(commit=head, dirty=False, author="Somebody")]


def test_no_git_has_to_be_installed(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert about(clone, "a.yaml") == [Provenance(commit=head, dirty=False, author="Somebody")]


def test_another_repository_in_the_environment_changes_nothing(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    assert about(clone, "a.yaml")[0].commit == head


def test_nothing_that_the_repository_sets_is_started_and_no_lock_is_left(clone: Path, tmp_path: Path) -> None:
    script = write(tmp_path / "script", f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    write(clone / "a.yaml", "1")
    commit(clone)
    for setting in ("core.fsmonitor", "gpg.program", "core.pager"):
        git(clone, "config", setting, str(script))
    git(clone, "config", "log.showSignature", "true")
    before = (clone / ".git/index").stat().st_mtime_ns
    write(clone / "a.yaml", "1")  # the index would be refreshed
    assert about(clone, "a.yaml")[0].dirty is False
    assert not (tmp_path / "ran").exists()
    assert (clone / ".git/index").stat().st_mtime_ns == before


def test_a_read_that_hangs_ends_at_the_timeout(clone: Path) -> None:
    """The index of a pack is a FIFO. It blocks its reader, as a dead file system does."""
    write(clone / "a.yaml", "1")
    head = commit(clone)
    (clone / ".git/objects" / head[:2] / head[2:]).unlink()
    path = write(clone / f".git/objects/pack/pack-{head}.pack", "").with_suffix(".idx")
    os.mkfifo(path)
    checkout = GitCheckout(clone, timeout=0.1)
    expected = {"a.yaml": Provenance(gap=Gap.SLOW)}
    assert checkout.query(["a.yaml"]).provenance(["a.yaml"]) == expected
    visit = checkout.query(["a.yaml"])
    assert visit.provenance(["a.yaml"]) == expected  # and the next does not wait for it either
    threads = [one for one in threading.enumerate() if one.name == "checkout"]
    assert len(threads) == 1
    path.write_bytes(b"no index")  # let it go
    threads[0].join()


def test_at_the_timeout_the_provenance_found_so_far_is_used(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        write(clone / f"{number}.yaml", "1")
        head = commit(clone, by=f"Author {number}")
    reads = iter(range(1000))
    monkeypatch.setattr(git_objects, "monotonic", lambda: 1e12 if next(reads) > 6 else 0.0)
    found = about(clone, "0.yaml", "3.yaml")
    assert [one.commit for one in found] == [head, head]
    assert (found[0].author, found[0].gap) == (None, Gap.SLOW)
    assert (found[1].author, found[1].gap) == ("Author 3", None)


def test_merges_are_followed_as_git_log_does(clone: Path) -> None:
    """A random history with merges, the same on each run: every author is the one that `git log -1` names."""
    random = Random(13)
    names = [f"{folder}/{number}.yaml" for folder in ("specs", "specs/team") for number in range(4)]
    for name in names:
        write(clone / name, "0")
    commit(clone, by="First")
    for number in range(40):
        git(
            clone, "checkout", "-q", "-b", f"b{number}", random.choice([f"b{number - 1}" if number else "main", "main"])
        )
        for name in random.sample(names, 2):
            write(clone / name, f"{random.randrange(3)}\n")
        git(clone, "add", "-A")
        git(clone, "commit", "-q", "--allow-empty", "-m", "x", by=f"Author {number}")
        if number % 3 == 2:
            git(clone, "checkout", "-q", "main")
            way = random.choice(["ours", "theirs"])
            git(clone, "merge", "-q", "--no-ff", "-X", way, "-m", "m", f"b{number}", by=f"Merger {number}")
    expected = {name: git(clone, "log", "-1", "--format=%an", "--", name) for name in names}
    found = GitCheckout(clone, timeout=60.0).query(names).provenance(names)
    assert {name: one.author for name, one in found.items()} == expected
    assert len(set(expected.values())) > 3


def test_a_shallow_clone_names_no_author_beyond_its_end(clone: Path, tmp_path: Path) -> None:
    """[issue 14]"""
    for name in ("a", "b", "c"):
        write(clone / f"{name}.yaml", name)
        commit(clone, by=f"Author {name}")
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{clone.parent}/remote.git", "cut")
    found = about(tmp_path / "cut", "a.yaml", "b.yaml", "c.yaml")
    assert [(one.author, one.dirty, one.recorded and one.recorded.author) for one in found] == [
        (None, False, "not known (shallow clone)"),
        (None, False, "not known (shallow clone)"),
        ("Author c", False, "Author c"),
    ]


def test_an_object_missing_from_a_partial_clone_is_unknown(clone: Path, tmp_path: Path) -> None:
    git(clone.parent / "remote.git", "config", "uploadpack.allowFilter", "true")
    for name in ("a", "b"):
        write(clone / f"specs/{name}.yaml", name)
        commit(clone, by=f"Author {name}")
    git(tmp_path, "clone", "-q", "--filter=tree:0", f"file://{clone.parent}/remote.git", "part")
    found = about(tmp_path / "part", "specs/a.yaml", "specs/b.yaml")
    assert [(one.author, one.dirty, one.gap) for one in found] == [(None, False, Gap.PARTIAL)] * 2


def test_a_clone_with_shared_objects_is_read(clone: Path, tmp_path: Path) -> None:
    """The objects come from the alternates of the clone."""
    write(clone / "a.yaml", "1")
    head = commit(clone)
    git(tmp_path, "clone", "-q", "--shared", str(clone.parent / "remote.git"), "shared")
    assert about(tmp_path / "shared", "a.yaml") == [Provenance(commit=head, dirty=False, author="Somebody")]


def test_packed_objects_packed_refs_and_sha256_are_read(clone: Path, tmp_path: Path) -> None:
    write(clone / "a.yaml", "1" * 5000)
    commit(clone, by="Ann")
    write(clone / "b.yaml", "1")
    commit(clone)
    git(clone, "gc", "-q")
    assert [one.author for one in about(clone, "a.yaml", "b.yaml")] == ["Ann", "Somebody"]
    git(tmp_path, "init", "-q", "--object-format=sha256", "other")
    write(tmp_path / "other/a.yaml", "1")
    git(tmp_path / "other", "add", "-A")
    git(tmp_path / "other", "commit", "-q", "-m", "x")
    (found,) = about(tmp_path / "other", "a.yaml")
    assert (found.author, found.dirty, len(found.commit or "")) == ("Somebody", False, 64)
    tracked = repository_of(tmp_path / "other")
    assert tracked.tracked() == 1


def test_a_bare_repository_in_the_folder_is_not_taken_for_the_checkout(clone: Path) -> None:
    """[issue 13] A user with push rights can add these files, but none named `.git`."""
    write(clone / "specs/a.yaml", "1")
    head = commit(clone)
    git(clone, "init", "-q", "--bare", "specs")
    assert about(clone / "specs", "a.yaml") == [Provenance(commit=head, dirty=False, author="Somebody")]


def test_a_git_file_that_leads_into_the_work_tree_is_refused(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    commit(clone)
    (clone / ".git").rename(clone / "planted")
    write(clone / ".git", "gitdir: planted\n")
    assert about(clone, "a.yaml") == [Provenance(gap=Gap.UNREADABLE)]
    with pytest.raises(Unreadable, match="part of the work tree"):
        find(clone)


def test_windows_line_ends_are_not_a_change(clone: Path) -> None:
    write(clone / "a.yaml", "1\n2\n")
    commit(clone)
    write(clone / "a.yaml", "1\r\n2\r\n")
    assert about(clone, "a.yaml")[0].dirty is False


def test_a_link_is_as_committed_when_its_content_is(clone: Path) -> None:
    write(clone / "data/a.yaml", "1")
    (clone / "specs").mkdir()
    (clone / "specs/a.yaml").symlink_to("../data/a.yaml")
    commit(clone)
    assert about(clone / "specs", "a.yaml")[0].dirty is False
    write(clone / "data/a.yaml", "2")
    assert about(clone / "specs", "a.yaml")[0].dirty is True


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 40])
def test_an_object_that_claims_to_be_huge_is_not_unpacked(clone: Path, size: int) -> None:
    """A pushed pack may contain a tree of a few hundred bytes that unpacks to gigabytes."""
    header = bytearray([0x80 | 2 << 4 | size & 0x0F])  # a tree
    size >>= 4
    while size:
        header.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
    data = object.__new__(git_objects._PackData)
    data._buffer = lambda: bytes(header)  # type: ignore[assignment, method-assign]
    with pytest.raises(Damaged):
        data.get_object_at(0)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "packed-refs", "objects/info/alternates", "object"])
def test_an_endless_object_is_damage(clone: Path, name: str, kind: str) -> None:
    """Otherwise `doctor` hangs, and a device fills the memory."""
    write(clone / "specs/a.yaml", "1")
    head = commit(clone)
    git(clone, "symbolic-ref", "HEAD", "refs/heads/main")
    git(clone, "update-ref", "refs/heads/main", head)
    if name == "packed-refs":
        (clone / ".git/refs/heads/main").unlink()
    path = clone / ".git" / (f"objects/{head[:2]}/{head[2:]}" if name == "object" else name)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/tty")  # to read it ends at once
    raised: list[type[Exception]] = []

    def read() -> None:
        try:
            found = repository_of(clone)
            with found.objects(found.head() or b"") as opened:
                opened.commit(head.encode())
                opened.folder(b"0" * 40)
        except (Unreadable, Damaged) as error:
            raised.append(type(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert raised == [Damaged if name.startswith("obj") else Unreadable]


def test_a_packed_branch_is_found_next_to_a_leftover_folder_of_its_name(clone: Path) -> None:
    write(clone / "specs/a.yaml", "1")
    head = commit(clone)
    git(clone, "checkout", "-q", "-b", "team.x/+a")
    git(clone, "pack-refs", "--all")
    (clone / ".git/refs/heads/team.x/+a").mkdir(parents=True)
    assert repository_of(clone).head() == head.encode()
    write(clone / ".git/HEAD", "ref: refs/heads/../../../secret\n")
    with pytest.raises(Unreadable, match="cannot be followed"):
        repository_of(clone).head()


def test_a_damaged_object_is_reported_as_damage(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    path = clone / ".git/objects" / head[:2] / head[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    assert about(clone, "a.yaml")[0].gap is Gap.DAMAGED


def test_a_file_name_that_is_not_printable_is_not_reported_as_clean(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    assert about(clone, "bad\\n.yaml") == [Provenance(commit=head)]


def test_the_parts_of_the_library_that_start_programs_or_read_settings_are_not_imported() -> None:
    """[issue 13]"""
    script = "import sys, agent.source.git_provenance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    parts = (
        "client",
        "hooks",
        "filters",
        "porcelain",
        "repo",
        "config",
        "attrs",
        "credentials",
        "merge_drivers",
        "cli",
    )
    assert {f"dulwich.{part}" for part in parts}.isdisjoint(done.stdout.split())
    assert "subprocess" not in done.stdout.split()
