"""A git source: refresh, scan, and which revision a scan belongs to. The repositories and git are real."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.settings import Settings
from agent.source.folder import Scan
from agent.source.revisions import git_source, revision_folders
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.git_process import Git
from agent.source.revisions.git_source import GitSource, Refreshed
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.revision_folders import RevisionFolders
from tests.source.revisions.repositories import Link, Upstream, contents
from tests.support.git_servers import make_ssh_key
from verification.builders.request_files import upload
from verification.builders.settings import settings


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream.git")


def configured(folder: Path, upstream: Upstream, **others: Any) -> Settings:
    (folder / "state").mkdir(parents=True, exist_ok=True)
    return Settings(**settings(folder, "http://127.0.0.1:9", source_url=upstream.url, **others))


def source(folder: Path, upstream: Upstream, **others: Any) -> GitSource:
    """A source as a new process has it."""
    return GitSource.of(configured(folder, upstream, **others))


def request(name: str) -> bytes:
    return upload(name).encode()


def names(found: Scan) -> set[str]:
    return set(found.documents)


class Gits:
    """The git commands that ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        original = Git.start

        def noted(git: Git, arguments: Sequence[str], *others: Any, **options: Any) -> Any:
            words = iter(arguments)
            while (word := next(words)) == "-c":
                next(words)
            self.commands.append(word)
            return original(git, arguments, *others, **options)

        monkeypatch.setattr(Git, "start", noted)

    def of_refresh(self, source: GitSource, acted: str | None = None, approved: str | None = None) -> list[str]:
        """The commands of one refresh."""
        self.commands.clear()
        source.refresh(acted, approved)
        return list(self.commands)


def test_nothing_is_written_before_the_first_use(tmp_path: Path, upstream: Upstream) -> None:
    one = source(tmp_path / "agent", upstream)
    found = one.scan()
    assert found.error is not None
    assert "no revision" in found.error.message
    assert not found.complete
    assert not found.proves_absence
    assert list(one.scan_gradually()) == [found]
    assert one.query(["a.yaml"]) is None
    assert os.listdir(tmp_path / "agent" / "state") == []  # noqa: PTH208


def test_a_revision_is_published_and_scanned(tmp_path: Path, upstream: Upstream) -> None:
    head = upstream.push({b"a.yaml": request("a"), b"b/c.yaml": request("c")})
    one = source(tmp_path / "agent", upstream)

    assert one.refresh(None, None) == Refreshed(head=head, published=True)
    found = one.scan()

    assert names(found) == {"a", "c"}
    assert found.proves_absence
    assert found.revision is not None
    assert (found.revision.commit, found.revision.signer) == (head, None)
    assert found.revision.committed_at == float(upstream.git("log", "-1", "--format=%ct"))
    *_, last = one.scan_gradually()
    assert isinstance(last, Scan)
    assert last.revision == found.revision
    query = one.query(["a.yaml"])
    assert query is not None
    assert query.provenance(["a.yaml"])["a.yaml"].commit == head


def test_each_revision_replaces_the_one_before(tmp_path: Path, upstream: Upstream) -> None:
    one, acted = source(tmp_path / "agent", upstream), None
    for number in range(4):
        head = upstream.push({b"a.yaml": request(f"a{number}"), b"b.yaml": request("b")})
        assert one.refresh(acted, None) == Refreshed(head=head, published=True)
        found = one.scan()
        assert names(found) == {f"a{number}", "b"}
        assert found.revision is not None
        acted = found.revision.commit
        assert acted == head


def test_nothing_new_costs_one_ls_remote(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    head, gits = upstream.push({b"a.yaml": request("a")}), Gits(monkeypatch)
    one = source(tmp_path / "agent", upstream)
    assert "fetch" in gits.of_refresh(one)
    assert gits.of_refresh(one, head) == ["ls-remote"]
    assert gits.of_refresh(one, head) == ["ls-remote"]
    assert one.refresh(head, None) == Refreshed(head=head)

    again = source(tmp_path / "agent", upstream)  # after a restart, nothing is fetched or exported
    before = (tmp_path / "agent/state/agent.source/current/a.yaml").stat()
    assert "fetch" not in gits.of_refresh(again, head)
    assert (tmp_path / "agent/state/agent.source/current/a.yaml").stat() == before
    assert gits.of_refresh(again, head) == ["ls-remote"]


def test_a_replaced_history_is_held_until_it_is_approved(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    forced = upstream.push({b"b.yaml": request("b")}, replace=True)

    held = Refreshed(head=forced, refused=(forced, RevisionRefusal.NOT_DESCENDED, forced))
    assert one.refresh(first, None) == held
    assert names(one.scan()) == {"a"}
    gits = Gits(monkeypatch)
    assert gits.of_refresh(one, first) == ["ls-remote"]  # it is not judged again
    assert one.refresh(first, "1" * 40) == held  # approval of another revision

    assert one.refresh(first, forced) == Refreshed(head=forced, published=True)
    assert names(one.scan()) == {"b"}
    assert one.refresh(forced, forced) == Refreshed(head=forced)

    again = upstream.push({b"c.yaml": request("c")}, replace=True)
    assert one.refresh(forced, forced).refused == (again, RevisionRefusal.NOT_DESCENDED, again)


def test_the_last_good_revision_is_published_if_the_server_is_away(tmp_path: Path, upstream: Upstream) -> None:
    head, folder = upstream.push({b"a.yaml": request("a")}), tmp_path / "agent"
    source(folder, upstream).refresh(None, None)
    upstream.folder.rename(tmp_path / "away")

    one = source(folder, upstream)  # restarted before the revision was scanned
    found = one.refresh(None, None)

    assert (found.head, found.published, found.failure is None) == (None, True, False)
    assert names(one.scan()) == {"a"}
    assert one.refresh(head, None).published is False
    (tmp_path / "away").rename(upstream.folder)
    assert one.refresh(head, None) == Refreshed(head=head)


def test_a_new_boot_exports_again_from_the_mirror(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, folder = upstream.push({b"a.yaml": request("a")}), tmp_path / "agent"
    source(folder, upstream).refresh(None, None)
    upstream.folder.rename(tmp_path / "away")
    monkeypatch.setattr(revision_folders, "boot_id", lambda: "another")

    one = source(folder, upstream)

    assert one.refresh(head, None).published
    assert names(one.scan()) == {"a"}


def test_an_approval_counts_while_the_server_is_away(tmp_path: Path, upstream: Upstream) -> None:
    folder, first = tmp_path / "agent", upstream.push({b"a.yaml": request("a")})
    one = source(folder, upstream)
    one.refresh(None, None)
    forced = upstream.push({b"b.yaml": request("b")}, replace=True)
    one.refresh(first, None)
    upstream.folder.rename(tmp_path / "away")
    for again in (one, source(folder, upstream)):
        assert again.refresh(first, None).failure is not None
        assert names(again.scan()) == {"a"}
    again = source(folder, upstream)
    again.refresh(first, forced)
    assert names(again.scan()) == {"a"}  # the content of a refused revision was not fetched

    (tmp_path / "away").rename(upstream.folder)
    assert again.refresh(first, forced) == Refreshed(head=forced, published=True)
    upstream.folder.rename(tmp_path / "away")
    again = source(folder, upstream)
    assert again.refresh(first, forced).published
    assert names(again.scan()) == {"b"}


def test_a_refused_revision_is_not_scanned_after_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    """The agent was killed after it had published a revision, and must verify signatures since."""
    folder = tmp_path / "agent"
    first = upstream.push({b"a.yaml": request("a")})
    source(folder, upstream).refresh(None, None)
    second = upstream.push({b"b.yaml": request("b")})
    source(folder, upstream).refresh(first, None)
    signers = tmp_path / "signers"
    signers.write_text("")
    strict = {"source_verify": "head", "source_allowed_signers_file": signers}

    one = source(folder, upstream, **strict)
    assert one.refresh(first, None) == Refreshed(
        head=second, published=True, refused=(second, RevisionRefusal.UNSIGNED, second)
    )
    assert names(one.scan()) == {"a"}

    one = source(folder, upstream, **strict)
    assert one.refresh(None, None).refused == (second, RevisionRefusal.UNSIGNED, second)
    found = one.scan()
    assert found.error is not None
    assert "may not act on" in found.error.message
    assert found.revision is None


def test_a_changed_file_of_signers_lets_the_head_be_judged_again(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, signers = make_ssh_key(tmp_path / "key"), tmp_path / "signers"
    signers.write_text("")
    upstream.push({b"a.yaml": request("a")})
    signed = upstream.git(
        "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "commit-tree", "-S", "main^{tree}", "-m", "signed"
    )
    upstream.git("update-ref", "refs/heads/main", signed)
    one = source(tmp_path / "agent", upstream, source_verify="head", source_allowed_signers_file=signers)
    refused = one.refresh(None, None).refused
    assert refused is not None
    assert refused[1] in (RevisionRefusal.UNKNOWN_SIGNER, RevisionRefusal.UNVERIFIED)

    signers.write_text(f"alice@example.test {key.with_suffix('.pub').read_text()}")
    assert one.refresh(None, None) == Refreshed(head=signed, published=True)
    revision = one.scan().revision
    assert revision is not None
    assert revision.signer is not None
    assert revision.signer.startswith("alice@example.test SHA256:")

    gits = Gits(monkeypatch)
    assert gits.of_refresh(one, signed)[0] == "ls-remote"
    assert gits.of_refresh(one, signed) == ["ls-remote"]
    signers.write_text("")  # the agent keeps the revision that it acted on
    assert one.refresh(signed, None).refused is not None
    assert names(one.scan()) == {"a"}


def test_a_missing_path_keeps_the_last_revision(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = upstream.push({b"team/specs/a.yaml": request("a"), b"b.yaml": request("b")})
    one = source(tmp_path / "agent", upstream, source_path="team/specs")
    one.refresh(None, None)
    for files in ({b"b.yaml": b"1"}, {b"team/specs": b"a file"}, {b"team/specs": Link(b"other"), b"other/a.yaml": b""}):
        head = upstream.push(files)
        found = one.refresh(first, None)
        assert (found.head, found.failure, found.published) == (head, FetchFailure.NO_PATH, False)
        assert names(one.scan()) == {"a"}
    assert Gits(monkeypatch).of_refresh(one, first) == ["ls-remote"]

    head = upstream.push({b"team/specs/c.yaml": request("c")})
    assert one.refresh(first, None) == Refreshed(head=head, published=True)


def test_without_the_path_from_the_beginning_a_scan_says_why(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream, source_path="missing")
    assert one.refresh(None, None).failure is FetchFailure.NO_PATH
    error = one.scan().error
    assert error is not None
    assert "no-path" in error.message
    assert error.hint == "assure-agent doctor"


def test_another_path_is_never_confused_with_the_one_before(tmp_path: Path, upstream: Upstream) -> None:
    head = upstream.push({b"one/a.yaml": request("a"), b"two/b.yaml": request("b")})
    for path, expected in (("one", {"a"}), ("two", {"b"}), ("", {"a", "b"})):
        one = source(tmp_path / "agent", upstream, source_path=path)
        assert one.refresh(head, None).published
        assert names(one.scan()) == expected


def test_another_repository_is_never_confused_with_the_one_before(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push({b"a.yaml": request("a")})
    source(tmp_path / "agent", upstream).refresh(None, None)
    other = Upstream(tmp_path / "other.git")
    head = other.push({b"b.yaml": request("b")})
    other.folder.rename(tmp_path / "away")

    one = source(tmp_path / "agent", other)
    assert one.refresh(None, None).failure is not None
    assert one.scan().error is not None

    (tmp_path / "away").rename(other.folder)
    assert one.refresh(None, None) == Refreshed(head=head, published=True)
    assert names(one.scan()) == {"b"}


def test_a_deleted_branch_keeps_the_last_revision(tmp_path: Path, upstream: Upstream) -> None:
    head = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    upstream.git("update-ref", "-d", "refs/heads/main")
    found = one.refresh(head, None)
    assert found.failure is FetchFailure.NO_BRANCH
    assert not found.published
    assert names(one.scan()) == {"a"}


def test_a_bug_never_raises(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    head = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(git_source, "refusal", broken)
        assert one.refresh(None, None) == Refreshed(head=head, failure=FetchFailure.OTHER, detail="ZeroDivisionError")
        assert one.scan().error is not None
    assert one.refresh(None, None) == Refreshed(head=head, published=True)
    other = upstream.push({b"b.yaml": request("b")})
    monkeypatch.setattr(Mirror, "keep", broken)
    assert one.refresh(head, None).failure is FetchFailure.OTHER
    assert other


def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    (tmp_path / "agent/state/agent.source").write_text("a file")
    assert one.refresh(None, None).failure is FetchFailure.DISK
    (tmp_path / "agent/state/agent.source").unlink()
    assert one.refresh(None, None).published


@pytest.mark.parametrize("what", ["current", "folder", "everything"])
def test_a_deleted_folder_is_exported_again(tmp_path: Path, upstream: Upstream, what: str) -> None:
    head, home = upstream.push({b"a.yaml": request("a")}), tmp_path / "agent/state/agent.source"
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    if what == "current":
        (home / "current").unlink()
    else:
        shutil.rmtree(home / head)
        if what == "everything":
            shutil.rmtree(home / f"{head}.spare")

    assert one.scan().error is not None
    assert not one.scan().proves_absence
    assert one.refresh(head, None).failure is None
    assert names(one.scan()) == {"a"}
    assert contents(home / "current") == {b"a.yaml": request("a")}


def test_a_scan_of_another_revision_has_no_result(tmp_path: Path, upstream: Upstream) -> None:
    """Another process moved the link between the check and the scan."""
    upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    steps = one.scan_gradually()
    home = tmp_path / "agent/state/agent.source"
    (home / "other").mkdir()
    (home / "new").symlink_to("other")
    original = one._scannable

    def swapped() -> Any:
        found = original()
        (home / "new").replace(home / "current")
        return found

    one._scannable = swapped  # type: ignore[method-assign]
    *_, last = steps
    assert isinstance(last, Scan)
    assert last.error is not None
    assert last.revision is None


def test_hard_links_are_not_reported(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    found = one.scan()
    assert names(found) == {"a"}
    assert not found.exposed


def test_a_damaged_head_keeps_the_last_revision(tmp_path: Path, upstream: Upstream) -> None:
    first = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    inner = upstream.tree([("100644", b"x.yaml", upstream.store(b"x"))])
    upstream.commit_tree(upstream.tree([("40000", b".git", inner)]), [first])

    found = one.refresh(first, None)

    assert found.failure is FetchFailure.DAMAGED
    assert names(one.scan()) == {"a"}


@pytest.mark.parametrize("command", ["ls-tree", "cat-file", "fetch", "rev-list", "merge-base"])
def test_a_killed_git_says_nothing_about_the_repository(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """[I2] As the system does without memory. The next refresh tries again."""
    first = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    second = upstream.push({b"b.yaml": request("b"), b"c.yaml": Link(b"b.yaml")})
    programs = tmp_path / "programs"
    programs.mkdir()
    real = shutil.which("git")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        (programs / "git").write_text(
            f'#!/bin/sh\ncase " $* " in *" {command} "*) kill -9 $$;; esac\nexec {real} "$@"\n'
        )
        (programs / "git").chmod(0o755)
        found = one.refresh(first, None)
        assert (found.failure, found.detail) == (FetchFailure.OTHER, "git was ended by signal 9")
        assert names(one.scan()) == {"a"}
    assert one.refresh(first, None) == Refreshed(head=second, published=True)


def test_a_commit_that_could_not_be_exported_is_tried_again_after_a_minute(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends in the middle of an answer looks as a damaged repository does."""
    now = 1000.0
    monkeypatch.setattr(git_source, "monotonic", lambda: now)
    first = upstream.push({b"a.yaml": request("a")})
    one = source(tmp_path / "agent", upstream)
    one.refresh(None, None)
    second = upstream.push({b"b.yaml": request("b")})
    with monkeypatch.context() as patched:
        patched.setattr(RevisionFolders, "publish", refuse_to_publish)
        assert one.refresh(first, None).failure is FetchFailure.DAMAGED
    now += 59
    assert one.refresh(first, None).failure is FetchFailure.DAMAGED
    now += 2
    assert one.refresh(first, None) == Refreshed(head=second, published=True)


def refuse_to_publish(*_: object) -> None:
    raise FetchError(FetchFailure.DAMAGED, "fatal: protocol error: bad pack header")


def test_a_refused_head_has_the_path_though_an_older_revision_lacks_it(tmp_path: Path, upstream: Upstream) -> None:
    first = upstream.push({b"new/a.yaml": request("a")})
    source(tmp_path / "agent", upstream, source_path="new").refresh(None, None)
    head = upstream.commit_tree(upstream.tree([("40000", b"old", upstream.tree([]))]), [])
    found = source(tmp_path / "agent", upstream, source_path="old").refresh(first, None)
    assert (found.refused, found.failure) == ((head, RevisionRefusal.NOT_DESCENDED, head), None)


def test_blobs_beside_the_folder_are_not_fetched(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push({b"specs/a.yaml": request("a"), b"big.bin": os.urandom(5_000_000), b"specs/b.bin": b"b"})
    one = source(tmp_path / "agent", upstream, source_path="specs")
    one.refresh(None, None)
    assert names(one.scan()) == {"a"}
    packs = tmp_path / "agent/state/agent.source/mirror.git/objects/pack"
    assert sum(path.stat().st_size for path in packs.iterdir()) < 100_000


def test_a_checkout_lags_behind_a_revision_that_it_neither_is_nor_descends_from(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Two replicas, of which one fetched the second commit and the other did not."""
    first = upstream.push({b"a.yaml": request("a")})
    behind, ahead = source(tmp_path / "behind", upstream), source(tmp_path / "ahead", upstream)
    behind.refresh(None, None)
    second = upstream.push({b"b.yaml": request("b")})
    ahead.refresh(None, None)
    assert behind.lags(second, None)  # it has not got the commit
    assert not behind.lags(first, None)
    assert not ahead.lags(second, None)
    assert not ahead.lags(first, None)
    replaced = upstream.commit_tree(upstream.tree([]), [])
    assert ahead.lags(replaced, None)
    assert not ahead.lags(replaced, second)  # an operator approved this revision
