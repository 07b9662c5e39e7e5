"""Where files come from, as a real git says."""

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.source import history as module
from agent.source.history import Checkout, Origin
from tests.support.git import commit, git, repository

from .samples import write


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return repository(tmp_path / "a folder")


def about(folder: Path, *files: str) -> Sequence[Origin]:
    found = Checkout(folder, patience=60.0).visit(files).about(files)
    return [found.get(file, Origin()) for file in files]


def test_a_committed_file_has_its_commit_and_its_last_author(clone: Path) -> None:
    write(clone / "specs/a.yaml", "1")
    write(clone / "specs/té am/b.yaml", "1")
    commit(clone, by="Ann Other")
    write(clone / "specs/a.yaml", "2")
    head = commit(clone, by="Zoë Last")
    assert about(clone / "specs", "a.yaml") == [Origin(commit=head, dirty=False, author="Zoë Last")]
    assert about(clone / "specs", "a.yaml", "té am/b.yaml") == [
        Origin(commit=head, dirty=False, author="Zoë Last"),
        Origin(commit=head, dirty=False, author="Ann Other"),
    ]


def test_what_is_changed_staged_untracked_or_ignored_is_dirty(clone: Path) -> None:
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


def test_many_files_are_asked_for_at_once_and_only_once(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 2)
    names = [f"{number}.yaml" for number in range(6)]
    for name in names:
        write(clone / "specs" / name, "1")
    head = commit(clone)
    write(clone / "specs/3.yaml", "2")
    visit = Checkout(clone / "specs", patience=20.0).visit()
    first = visit.about(names[:4])
    monkeypatch.setattr(module.subprocess, "run", None)
    assert {**first, **visit.about(names[4:])} == {
        name: Origin(commit=head, dirty=name == "3.yaml", author="Somebody") for name in names
    }


def test_the_root_of_the_work_tree_and_a_worktree_of_its_own_are_as_good(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    git(clone, "worktree", "add", "-q", "--detach", "../published", head)
    expected = [Origin(commit=head, dirty=False, author="Somebody")]
    assert about(clone, "a.yaml") == expected
    assert about(clone.parent / "published", "a.yaml") == expected


def test_where_git_knows_nothing_nothing_is_known(clone: Path, tmp_path: Path) -> None:
    write(clone / "a.yaml", "1")
    assert about(clone, "a.yaml") == [Origin()]  # nothing was ever committed
    assert about(tmp_path, "a.yaml") == [Origin()]
    assert about(tmp_path / "missing", "a.yaml") == [Origin()]


def test_a_repository_of_somebody_else_is_not_asked(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safe.directory"""
    write(clone / "a.yaml", "1")
    commit(clone)
    monkeypatch.setitem(module._ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setitem(module._ENVIRONMENT, "GIT_CONFIG_GLOBAL", "/dev/null")
    assert about(clone, "a.yaml") == [Origin()]


def test_without_git_nothing_is_known(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clone / "a.yaml", "1")
    commit(clone)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert about(clone, "a.yaml") == [Origin()]


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


def test_a_git_that_takes_too_long_is_not_waited_for(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said until then counts; what it could not say is not known."""
    write(clone / "a.yaml", "1")
    head = "0123456789" * 4
    slow = f'#!/bin/sh\ncase "$*" in *rev-parse*) printf "{head}\\n\\n";; *) exec /bin/sleep 60;; esac\n'
    write(tmp_path / "bin/git", slow).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    visit = Checkout(clone, patience=0.5).visit()
    assert visit.about(["a.yaml"]) == {"a.yaml": Origin(commit=head)}
    assert visit.about(["a.yaml"]) == {"a.yaml": Origin(commit=head)}  # and not asked again


def test_a_name_that_cannot_be_shown_as_it_is_is_not_said_to_be_clean(clone: Path) -> None:
    write(clone / "a.yaml", "1")
    head = commit(clone)
    assert about(clone, "bad\\n.yaml") == [Origin(commit=head)]
