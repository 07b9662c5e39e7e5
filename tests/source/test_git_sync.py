"""A folder that git-sync publishes, made by a real git as git-sync 4 makes it.

The root contains `.git`, a worktree `.worktrees/COMMIT` for each published commit, and a link to the latest. The `.git`
file of a worktree names its repository relatively, so that other containers can mount the root elsewhere. git-sync
replaces the link by a rename, then removes the previous worktree.
"""

import shutil
from pathlib import Path

import pytest

from agent.source.folder import Folder
from agent.source.git_provenance import GitCheckout, Provenance
from tests.source.test_watch import listening
from tests.support.git import commit, git, repository
from verification.builders.request_files import upload, write


class GitSync:
    """What git-sync does with its root, without the network."""

    def __init__(self, root: Path, clone: Path) -> None:
        self._root, self._remote = root, clone.parent / "remote.git"
        git(root.parent, "init", "-q", str(root))
        self.link = root / "current"

    def sync(self) -> str:
        """Publish the latest commit; returns it."""
        git(self._root, "fetch", "-q", str(self._remote), "main")
        published = git(self._root, "rev-parse", "FETCH_HEAD")
        worktree = self._root / ".worktrees" / published
        git(self._root, "worktree", "add", "-q", "--force", "--detach", str(worktree), published)
        (worktree / ".git").write_text(f"gitdir: ../../.git/worktrees/{published}\n")
        previous = self.link.resolve() if self.link.is_symlink() else None
        (self._root / "tmp-link").symlink_to(Path(".worktrees", published))
        (self._root / "tmp-link").rename(self.link)
        if previous is not None:
            shutil.rmtree(previous)
        return published


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return repository(tmp_path / "upstream")


@pytest.fixture
def git_sync(tmp_path: Path, clone: Path) -> GitSync:
    return GitSync(tmp_path / "git", clone)


def scanner(folder: Path) -> Folder:
    return Folder(folder, now=lambda: 1e11)


def test_a_scan_follows_the_published_commit(clone: Path, git_sync: GitSync) -> None:
    """[I1] A removed file counts as absent only because the whole new commit was read."""
    write(clone / "specs/a.yaml", upload("a"))
    write(clone / "specs/b.yaml", upload("b"))
    commit(clone)
    git_sync.sync()
    folder = scanner(git_sync.link / "specs")
    first = folder.scan()
    write(clone / "specs/a.yaml", upload("a").replace("137", "138"))
    (clone / "specs/b.yaml").unlink()
    write(clone / "specs/c.yaml", upload("c"))
    commit(clone)
    git_sync.sync()
    second = folder.scan()
    assert (set(first.documents), set(second.documents)) == ({"a", "b"}, {"a", "c"})
    assert first.documents["a"].canonical != second.documents["a"].canonical
    assert (first.faults, second.faults) == ((), ())
    assert first.proves_absence
    assert second.proves_absence
    assert second.lacks("b")


def test_author_and_commit_are_those_of_the_published_commit(clone: Path, git_sync: GitSync) -> None:
    for author, document in (("Ann Other", 137), ("Zoë Last", 138)):
        write(clone / "specs/a.yaml", upload("a").replace("137", str(document)))
        commit(clone, by=author)
        published = git_sync.sync()
        found = GitCheckout(git_sync.link / "specs", timeout=60.0).query(["a.yaml"]).provenance(["a.yaml"])
        assert found == {"a.yaml": Provenance(commit=published, dirty=False, author=author)}


def test_the_root_may_be_mounted_elsewhere(tmp_path: Path, clone: Path, git_sync: GitSync) -> None:
    write(clone / "specs/a.yaml", upload("a"))
    commit(clone, by="Ann Other")
    published = git_sync.sync()
    shutil.move(tmp_path / "git", tmp_path / "mounted")
    folder = tmp_path / "mounted/current/specs"
    assert set(scanner(folder).scan().documents) == {"a"}
    found = GitCheckout(folder, timeout=60.0).query(["a.yaml"]).provenance(["a.yaml"])
    assert found == {"a.yaml": Provenance(commit=published, dirty=False, author="Ann Other")}


def test_before_the_first_sync_nothing_counts_as_absent(git_sync: GitSync) -> None:
    """[I1] The agent may start before git-sync has published anything."""
    found = scanner(git_sync.link / "specs").scan()
    assert not found.proves_absence
    assert found.error is not None


def test_a_link_whose_worktree_was_lost_proves_no_absence(clone: Path, git_sync: GitSync) -> None:
    """[I1] git-sync removes a damaged worktree and publishes the commit again."""
    write(clone / "specs/a.yaml", upload("a"))
    commit(clone)
    git_sync.sync()
    folder = scanner(git_sync.link / "specs")
    assert folder.scan().proves_absence
    shutil.rmtree(git_sync.link.resolve())
    assert not folder.scan().proves_absence


async def test_a_new_commit_is_noticed_by_the_watch(clone: Path, git_sync: GitSync) -> None:
    write(clone / "specs/a.yaml", upload("a"))
    commit(clone)
    git_sync.sync()
    async with listening(git_sync.link / "specs") as events:
        for number in range(3):  # the watch follows each link, not only the first
            write(clone / f"specs/{number}.yaml", upload(f"new-{number}"))
            commit(clone)
            await events.quiet()
            published = git_sync.sync()
            await events.next()
            assert git_sync.link.readlink().name == published
        assert events.errors == []
