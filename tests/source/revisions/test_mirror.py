"""The mirror has what the server has, and costs no more than that; nothing that happens to it is for ever."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.source_revision import FetchFailure
from agent.source.revisions.mirror import TreeEntry
from tests.support.git_servers import BareRepository, HttpsServer, https_server
from tests.support.timeouts import eventually

from .mirrors import disk_bytes, failure, opened, processes_with

ROOT = Path(__file__).parents[3]
UNKNOWN = "1" * 40


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "root/requests.git")


@pytest.fixture
def server(repository: BareRepository, tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "root", tmp_path / "tls") as server:
        yield server


def test_a_push_arrives(repository: BareRepository, tmp_path: Path) -> None:
    first = repository.commit({"specs/a.yaml": "a"}, at=1_700_000_000)
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert not mirror.has(first)
    assert mirror.remote_head() == first
    assert not mirror.has(first)
    assert mirror.fetch() == first
    second = repository.commit({"specs/a.yaml": "b"})
    assert mirror.remote_head() == second
    assert [mirror.has(first), mirror.has(second), mirror.has(UNKNOWN)] == [True, False, False]
    assert mirror.fetch() == second
    assert mirror.is_ancestor(first, second)
    assert mirror.is_ancestor(second, second)
    assert not mirror.is_ancestor(second, first)
    assert not mirror.is_ancestor(UNKNOWN, second)
    assert failure(lambda: mirror.is_ancestor(first, UNKNOWN)).failure is FetchFailure.DAMAGED
    assert mirror.committed_at(first) == 1_700_000_000.0


def test_a_forced_push_arrives_and_what_was_kept_stays(repository: BareRepository, tmp_path: Path) -> None:
    before = repository.commit({"a": "a"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.keep(mirror.fetch())
    after = repository.commit({"a": "b"}, parents=[])
    assert mirror.fetch() == after
    assert mirror.has(before)
    assert not mirror.is_ancestor(before, after)


def test_one_commit_can_be_fetched(repository: BareRepository, tmp_path: Path) -> None:
    old = repository.commit({"a": "a"})
    repository.commit({"a": "b"}, parents=[])
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert mirror.fetch(old) == old
    for commit in (UNKNOWN, "main", "--upload-pack=touch", old[:12]):
        error = failure(lambda commit=commit: mirror.fetch(commit))
        assert error.failure is FetchFailure.NOT_FOUND
        assert commit in error.detail
    assert failure(lambda: mirror.fetch(repository.git("rev-parse", f"{old}:a"))).failure is FetchFailure.DAMAGED


def test_commits_since(repository: BareRepository, tmp_path: Path) -> None:
    base = repository.commit({"specs/a": "1", "other": "1"})
    left = repository.commit({"specs/a": "2"}, branch="left", parents=[base])
    elsewhere = repository.commit({"other": "2"}, branch="left")
    right = repository.commit({"specs/b": "1"}, branch="right", parents=[base])
    undone = repository.commit({"specs/b": None}, branch="right")
    silent = repository.commit({"other": "2"}, parents=[elsewhere, undone], message="merge")
    evil = repository.commit({"specs/c": "1"}, parents=[silent, right], message="merge")
    empty = repository.commit({}, message="nothing")
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()
    since = mirror.commits_since(base, empty, "specs")
    assert sorted(since) == sorted([left, right, undone, evil])
    assert since.index(right) < since.index(undone) < since.index(evil) == 3
    assert mirror.commits_since(base, empty, "/specs/") == since
    assert mirror.commits_since(None, empty, "specs")[0] == base
    assert sorted(mirror.commits_since(base, empty, "")) == sorted([left, elsewhere, right, undone, evil])
    assert mirror.commits_since(evil, empty, "") == []
    assert mirror.commits_since(base, empty, "none") == []
    assert mirror.commits_since(base, empty, "spec*") == []


def test_entries_and_their_changes(repository: BareRepository, tmp_path: Path) -> None:
    odd = "a\nb\t\"ü'\\ \x01"
    old = repository.commit({f"specs/x/{odd}": "1", "specs/gone": "2", "top": "3"}, links={"specs/link": "x"})
    new = repository.commit({f"specs/x/{odd}": "4", "specs/gone": None, "specs/new": "2", "top": "5"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()

    def blob(content: str) -> str:
        return repository.store(content.encode())

    path = f"x/{odd}".encode()
    assert sorted(mirror.entries(old, "specs"), key=lambda entry: entry.path) == [
        TreeEntry(b"gone", 0o100644, blob("2")),
        TreeEntry(b"link", 0o120000, blob("x")),
        TreeEntry(path, 0o100644, blob("1")),
    ]
    assert {entry.path for entry in mirror.entries(old, "")} == {b"top", b"specs/gone", b"specs/link", b"specs/" + path}
    assert dict(mirror.changed_entries(old, new, "specs")) == {
        b"gone": None,
        b"new": TreeEntry(b"new", 0o100644, blob("2")),
        path: TreeEntry(path, 0o100644, blob("4")),
    }
    assert list(mirror.changed_entries(old, old, "")) == []
    assert list(mirror.changed_entries(old, new, "none")) == []
    assert [
        mirror.folder_exists(old, folder) for folder in ("", "specs", "specs/x", "specs/gone", "none", "spec?")
    ] == [
        *(True, True, True),
        *(False, False, False),
    ]
    assert failure(lambda: list(mirror.entries(old, "none"))).failure is FetchFailure.NO_PATH


def test_contents(repository: BareRepository, tmp_path: Path) -> None:
    commit = repository.commit({"small": "12345", "empty": "", "lines": b"\n\0\n", "large": bytes(1000)})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()
    blobs = {entry.path: entry.blob for entry in mirror.entries(commit, "")}
    assert failure(lambda: list(mirror.contents([blobs[b"small"]], 5))).failure is FetchFailure.DAMAGED
    mirror.fetch_blobs(list(blobs.values()))
    found = dict(mirror.contents(blobs.values(), 5))
    assert {path: found[blob] for path, blob in blobs.items()} == {
        b"small": b"12345",
        b"empty": b"",
        b"lines": b"\n\0\n",
        b"large": 1000,
    }
    packs = disk_bytes(mirror.objects)
    mirror.fetch_blobs(list(blobs.values()))
    assert disk_bytes(mirror.objects) == packs
    assert failure(lambda: mirror.fetch_blobs([UNKNOWN])).failure is not FetchFailure.OTHER


def test_other_files_cost_nothing(repository: BareRepository, server: HttpsServer, tmp_path: Path) -> None:
    others = {f"media/{number}": os.urandom(5_000_000) for number in range(10)}
    commit = repository.commit({"specs/a.yaml": "a", **others})
    for folder, url in (("file", repository.url), ("https", f"{server.url}/requests.git")):
        mirror = opened(tmp_path / folder, url, ca_file=server.ca_file)
        assert mirror.fetch() == commit
        mirror.fetch_blobs([entry.blob for entry in mirror.entries(commit, "specs")])
        assert disk_bytes(mirror.objects) < 20_000


def test_a_long_history_is_fetched_once(repository: BareRepository, server: HttpsServer, tmp_path: Path) -> None:
    commits = (
        f"commit refs/heads/main\ncommitter A <a@example.test> {1_600_000_000 + number} +0000\ndata 1\nc\n"
        f"M 100644 inline specs/{number % 100}.yaml\ndata {len(str(number))}\n{number}\n"
        for number in range(10_000)
    )
    repository.git("fast-import", "--quiet", stdin="".join(commits).encode())
    mirror = opened(tmp_path / "mirror.git", f"{server.url}/requests.git", ca_file=server.ca_file)
    first = mirror.fetch()
    assert len(mirror.commits_since(None, first, "specs")) == 10_000
    assert sum(sent for *_, sent in server.received) > 1_000_000
    server.received.clear()
    second = repository.commit({"specs/new.yaml": "new"})
    assert mirror.fetch() == second
    assert sum(sent for *_, sent in server.received) < 10_000
    server.received.clear()
    assert mirror.remote_head() == second
    assert sum(sent for *_, sent in server.received) < 2_000


def test_borrowed_objects_are_not_fetched_again(
    repository: BareRepository, server: HttpsServer, tmp_path: Path
) -> None:
    commit = repository.commit({"a": os.urandom(100_000)})
    url = f"{server.url}/requests.git"
    lender = opened(tmp_path / "lender", url, ca_file=server.ca_file)
    lender.fetch()
    blobs = [entry.blob for entry in lender.entries(commit, "")]
    lender.fetch_blobs(blobs)
    borrower = opened(tmp_path / "borrower", url, lender.objects, ca_file=server.ca_file)
    server.received.clear()
    assert borrower.fetch(commit) == commit
    borrower.fetch_blobs(blobs)
    assert sum(sent for *_, sent in server.received) < 2_000
    assert disk_bytes(borrower.objects) < 2_000
    assert not opened(tmp_path / "borrower", url, ca_file=server.ca_file).has(commit)


def test_another_repository_at_the_same_address(tmp_path: Path) -> None:
    one, two = BareRepository(tmp_path / "one.git"), BareRepository(tmp_path / "two.git")
    first, second = one.commit({"a": "1"}), two.commit({"a": "2"})
    mirror = opened(tmp_path / "mirror.git", one.url)
    mirror.keep(mirror.fetch())
    mirror = opened(tmp_path / "mirror.git", two.url)
    assert mirror.remote_head() == mirror.fetch() == second
    assert mirror.has(first)
    assert not mirror.is_ancestor(first, second)
    mirror.fetch_blobs([entry.blob for entry in mirror.entries(second, "")])
    assert opened(tmp_path / "mirror.git", one.url).fetch() == first


def test_both_hash_functions(tmp_path: Path) -> None:
    one, two = BareRepository(tmp_path / "one.git"), BareRepository(tmp_path / "two.git", "sha256")
    first, second = one.commit({"a": "1"}), two.commit({"s/a": "2"})
    newer = two.commit({"s/b": "2"})
    for repository, head in ((two, newer), (one, first), (two, newer)):
        mirror = opened(tmp_path / "mirror.git", repository.url)
        assert mirror.remote_head() == mirror.fetch() == head
        entries = list(mirror.entries(head, ""))
        mirror.fetch_blobs([entry.blob for entry in entries])
        assert [len(head), *(len(entry.blob) for entry in entries)].count(len(head)) == len(entries) + 1
    assert mirror.commits_since(second, newer, "s") == [newer]
    assert [path for path, _ in mirror.changed_entries(second, newer, "none")] == []


def test_branches_with_odd_names(repository: BareRepository, tmp_path: Path) -> None:
    for branch in ("-x", "--all", 'f/ü#1-"x"-$(touch${IFS}canary)\'`;&%', "refs/heads/main", "HEAD"):
        commit = repository.commit({"a": branch}, branch=branch)
        repository.commit({"a": "decoy"}, branch=f"decoy/refs/heads/{branch}")
        mirror = opened(tmp_path / "mirror.git", repository.url, branch=branch)
        assert mirror.remote_head() == mirror.fetch() == commit


def test_a_shallow_repository_is_refused_until_it_is_whole(repository: BareRepository, tmp_path: Path) -> None:
    for number in range(5):
        commit = repository.commit({"a": str(number)})
    shallow = BareRepository(tmp_path / "shallow.git")
    shallow.git("fetch", "-q", "--depth", "2", repository.url, "main:main")
    assert (shallow.folder / "shallow").exists()
    mirror = opened(tmp_path / "mirror.git", shallow.url)
    for _ in range(2):
        error = failure(mirror.fetch)
        assert error.failure is FetchFailure.DAMAGED
        assert "shallow" in error.detail
        assert not mirror.has(commit)
    shallow.git("fetch", "-q", "--unshallow", repository.url, "main:main")
    assert mirror.fetch() == commit
    assert mirror.has(commit)
    assert len(mirror.commits_since(None, commit, "")) == 5


@pytest.mark.parametrize("killed", [False, True])
def test_a_pack_with_a_gap_is_not_taken_for_a_history(repository: BareRepository, tmp_path: Path, killed: bool) -> None:
    first = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert mirror.fetch(first) == first
    third = repository.commit({"a": "3"})
    objects = repository.git("rev-parse", third, f"{third}^{{tree}}", f"{third}:a") + "\n"
    if killed:  # while packs arrived
        packs = [path.stem for path in (mirror.objects / "pack").glob("*.pack")]
        (tmp_path / "mirror.git/known").write_text("\n".join(packs))
    repository.git("pack-objects", "-q", str(mirror.objects / "pack/pack"), stdin=objects.encode())
    for path in (mirror.objects / "pack").glob("*.pack"):
        path.with_suffix(".promisor").touch()
    assert not mirror.has(third)
    (tmp_path / "mirror.git/refs/assure/arrived").write_text(f"{third}\n")
    mirror = opened(tmp_path / "mirror.git", repository.url)
    if killed:
        mirror.fetch_blobs([entry.blob for entry in mirror.entries(first, "")])
        assert mirror.fetch() == third
        assert len(mirror.commits_since(None, third, "")) == 3
    else:
        error = failure(mirror.fetch)
        assert (error.failure, "complete history" in error.detail) == (FetchFailure.DAMAGED, True)
    assert mirror.has(first)


def test_many_packs_are_combined(repository: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.source.revisions.transport._MANY_PACKS", 10)
    repository.commit({"old": "old"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    first = mirror.fetch()
    mirror.keep(first)
    blobs = []
    for number in range(1, 15):
        head = repository.commit({"a": str(number), "old": None})
        assert mirror.fetch() == head
        blobs += [entry.blob for entry in mirror.entries(head, "")]
        mirror.fetch_blobs(blobs)
    assert 1 <= len(list((mirror.objects / "pack").glob("*.pack"))) < 15
    assert mirror.is_ancestor(first, head)
    assert len(mirror.commits_since(None, head, "")) == 15
    assert [content for _, content in mirror.contents(blobs, 9)] == [b"%d" % number for number in range(1, 15)]


_FETCHING = """
import sys
from pathlib import Path
from tests.source.revisions.mirrors import opened
opened(Path(sys.argv[1]), sys.argv[2], ca_file=Path(sys.argv[3])).fetch()
"""


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_a_killed_agent_leaves_a_mirror_that_is_mended(
    repository: BareRepository, server: HttpsServer, tmp_path: Path, requests: int
) -> None:
    first = repository.commit({"a": "1"})
    folder, url = tmp_path / "mirror.git", f"{server.url}/requests.git"
    mirror = opened(folder, url, ca_file=server.ca_file)
    mirror.keep(mirror.fetch())
    second = repository.commit({"a": "2"})
    server.received.clear()
    server.hangs_after = requests
    server.hanging.set()
    command = [sys.executable, "-c", _FETCHING, str(folder), url, str(server.ca_file)]
    with subprocess.Popen(command, cwd=ROOT) as agent:
        server.hung.wait()
        agent.kill()
    orphans = processes_with(folder / "busy")
    assert orphans
    litter = ["config.lock", "refs/assure/kept.lock", "refs/assure/fetched.lock", "objects/pack/tmp_pack_x", "shallow"]
    for name in litter:
        (folder / name).write_text("half")
    (folder / "refs/assure/fetched").write_text("")
    mirror = opened(folder, url, ca_file=server.ca_file)
    eventually(lambda: not processes_with(folder / "busy"))
    assert [name for name in litter if (folder / name).exists()] == []
    assert mirror.has(first)
    server.hanging.clear()
    assert mirror.fetch() == second
    assert mirror.is_ancestor(first, second)


_ENDING = """
import sys, threading
from pathlib import Path
from tests.source.revisions.mirrors import opened
mirror = opened(Path(sys.argv[1]), sys.argv[2], ca_file=Path(sys.argv[3]))
threading.Thread(target=mirror.fetch, daemon=True).start()
sys.stdin.read()
"""


def test_an_agent_that_ends_leaves_no_fetch_behind(
    repository: BareRepository, server: HttpsServer, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    folder = tmp_path / "mirror.git"
    server.hanging.set()
    command = [sys.executable, "-c", _ENDING, str(folder), f"{server.url}/requests.git", str(server.ca_file)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as agent:
        server.hung.wait()
        assert processes_with(folder / "busy")
        agent.communicate()
    assert agent.returncode == 0
    eventually(lambda: not processes_with(folder / "busy"))


def test_a_fetch_ends_with_all_of_its_processes(
    repository: BareRepository, server: HttpsServer, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    mirror = opened(tmp_path / "mirror.git", f"{server.url}/requests.git", ca_file=server.ca_file, timeout=1.0)
    server.hanging.set()
    assert failure(mirror.fetch).failure is FetchFailure.TIMEOUT
    eventually(lambda: not processes_with(tmp_path / "mirror.git/busy"))
    server.hanging.clear()
    assert mirror.fetch() == repository.head()


def test_a_mirror_that_lost_its_objects_fetches_them_again(repository: BareRepository, tmp_path: Path) -> None:
    first = repository.commit({"a": "1"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.keep(mirror.fetch())
    for path in (mirror.objects / "pack").iterdir():
        path.unlink()
    second = repository.commit({"a": "2"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert not mirror.has(first)
    assert mirror.fetch() == second
    assert mirror.is_ancestor(first, second)


def test_many_blobs_are_fetched_in_parts(
    repository: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.source.revisions.transport._MANY_OBJECTS", 10)
    commit = repository.commit({str(number): os.urandom(20_000) for number in range(25)})
    mirror = opened(tmp_path / "mirror.git", repository.url, max_bytes=300_000)
    mirror.fetch()
    blobs = [entry.blob for entry in mirror.entries(commit, "")]
    assert failure(lambda: mirror.fetch_blobs(blobs)).failure is FetchFailure.TOO_LARGE
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch_blobs(blobs)
    assert {len(content) for _, content in mirror.contents(blobs, 30_000) if isinstance(content, bytes)} == {20_000}


def test_an_iterator_that_is_not_finished_leaves_nothing(repository: BareRepository, tmp_path: Path) -> None:
    files = "".join(f"M 100644 inline f/{number}\ndata 1\nx\n" for number in range(20_000))
    repository.git(
        "fast-import", "--quiet", stdin=f"commit refs/heads/main\ncommitter A <a> 1 +0000\ndata 1\nc\n{files}".encode()
    )
    commit = repository.head() or ""
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    entries = mirror.entries(commit, "")
    next(entries)
    entries.close()  # type: ignore[attr-defined]
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_the_mirror_is_private_and_its_configuration_is_ours(repository: BareRepository, tmp_path: Path) -> None:
    commit = repository.commit({"a": "1"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()
    config = tmp_path / "mirror.git/config"
    ours = config.read_text()
    config.write_text(f'{ours}[core]\n\tfsmonitor = touch canary\n[remote "origin"]\n\tuploadpack = touch canary\n')
    (tmp_path / "mirror.git/hooks").mkdir()
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert config.read_text() == ours
    assert not (tmp_path / "mirror.git/hooks").exists()
    assert mirror.fetch() == commit
    assert [
        path for path in (tmp_path / "mirror.git").rglob("*") if path.is_file() and path.stat().st_mode & 0o022
    ] == []
    assert (tmp_path / "mirror.git").stat().st_mode & 0o777 == 0o700
    assert config.stat().st_mode & 0o777 == 0o600
    assert time.time() - config.stat().st_mtime < 600
