"""Nothing of a hostile repository runs, and nothing that could betray a credential leaves the agent."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.platform.proxy import Proxy
from tests.support.canaries import leaks
from tests.support.company_proxy import company_proxy
from tests.support.git_servers import BareRepository, HttpsServer, https_server, needs_sshd, ssh_server

from .mirrors import failure, opened, token_file

TOKEN = "Token-Canary-0123456789"


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "root/requests.git")


@pytest.fixture
def server(repository: BareRepository, tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "root", tmp_path / "tls") as server:
        yield server


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that leaves a file next to itself when it runs."""
    program = tmp_path / "planted"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/ran\n')
    program.chmod(0o755)
    return program


def planted(repository: BareRepository, program: Path) -> str:
    """Let everything that can name a program name this one; the commit."""
    module = repository.commit({"x": "y"}, branch="module")
    files = {
        ".gitattributes": "* filter=evil diff=evil merge=evil textconv=evil\n*.yaml ident export-subst\n",
        "specs/.gitattributes": "* filter=evil\n",
        ".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = ext::{program} %S\n\tupdate = !{program}\n',
        ".gitconfig": f"[core]\n\tfsmonitor = {program}\n",
        ".lfsconfig": f"[lfs]\n\turl = ext::{program}\n",
        "specs/a.yaml": "a",
        ".mailmap": "x",
    }
    repository.commit(files)
    repository.git("read-tree", "main", GIT_INDEX_FILE=_INDEX)
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{module},specs/m", GIT_INDEX_FILE=_INDEX)
    commit = repository.commit_tree(repository.git("write-tree", GIT_INDEX_FILE=_INDEX), [])
    hooks = repository.folder / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "pre-auto-gc", "post-update", "reference-transaction", "pre-receive", "fsmonitor"):
        (hooks / name).symlink_to(program)
    for name in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.pager",
        "core.editor",
        "core.alternateRefsCommand",
        "credential.helper",
        "uploadpack.packObjectsHook",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "gpg.program",
        "remote.origin.uploadpack",
        "alias.upload-pack",
    ):
        repository.git("config", name, f"!{program}" if name in ("credential.helper",) else str(program))
    repository.git("config", "core.hooksPath", str(hooks))
    repository.git("config", "remote.origin.url", f"{repository.folder}")
    repository.git("config", "remote.origin.promisor", "true")
    (repository.folder / "objects/info").mkdir(exist_ok=True)
    return commit


_INDEX = "index.of-planted"


@pytest.mark.parametrize("by_https", [False, True])
def test_nothing_of_the_repository_runs(
    repository: BareRepository, server: HttpsServer, program: Path, tmp_path: Path, by_https: bool
) -> None:
    commit = planted(repository, program)
    url = f"{server.url}/requests.git" if by_https else repository.url
    mirror = opened(tmp_path / "mirror.git", url, ca_file=server.ca_file)
    assert mirror.remote_head() == mirror.fetch() == commit
    mirror.keep(commit)
    entries = list(mirror.entries(commit, ""))
    assert 0o160000 in {entry.mode for entry in entries}
    blobs = [entry.blob for entry in entries if entry.mode != 0o160000]
    mirror.fetch_blobs(blobs)
    assert len(list(mirror.contents(blobs, 1000))) == len(blobs)
    assert mirror.commits_since(None, commit, "specs") == [commit]
    opened(tmp_path / "mirror.git", url, ca_file=server.ca_file)
    assert not (tmp_path / "ran").exists()
    subprocess.run([repository.folder / "hooks/post-update"], check=True)  # the trap itself works
    assert (tmp_path / "ran").exists()


def test_a_served_repository_that_lacks_objects_fetches_none(
    repository: BareRepository, program: Path, tmp_path: Path
) -> None:
    commit = planted(repository, program)
    blob = repository.git("rev-parse", f"{commit}:specs/a.yaml")
    (repository.folder / "objects" / blob[:2] / blob[2:]).unlink()
    mirror = opened(tmp_path / "mirror.git", repository.url)
    mirror.fetch()
    failure(lambda: mirror.fetch_blobs([blob]))
    assert not (tmp_path / "ran").exists()


def test_the_environment_of_the_agent_has_no_effect(
    repository: BareRepository, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit({"a": "a"})
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[core]\n\tfsmonitor = {program}\n[url "ext::{program} "]\n\tinsteadOf = file://\n'
    )
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_PARAMETERS": f"'core.hooksPath={program.parent}'",
        "GIT_SSH_COMMAND": str(program),
        "GIT_PROXY_COMMAND": str(program),
        "GIT_EXTERNAL_DIFF": str(program),
        "GIT_ASKPASS": str(program),
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_TEMPLATE_DIR": str(home),
        "GIT_EXEC_PATH": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert mirror.fetch() == commit
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "trace").exists()


def visible_to_others() -> bytes:
    """The command lines of all processes, and the environments of the descendants of this one."""
    seen, parents = [], {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            seen.append((process / "cmdline").read_bytes())
        except (OSError, ValueError):
            continue
    for pid in parents:
        line = [pid]
        while line[-1] in parents:
            line.append(parents[line[-1]])
        if pid != os.getpid() and os.getpid() in line:
            try:
                seen.append(Path(f"/proc/{pid}/environ").read_bytes())
            except OSError:
                continue
    return b"\n".join(seen)


def test_a_token_is_seen_by_the_server_only(repository: BareRepository, server: HttpsServer, tmp_path: Path) -> None:
    commit = repository.commit({"a": "a"})
    server.credentials = ("git", TOKEN)
    state = tmp_path / "state"
    state.mkdir(0o700)
    file = token_file(tmp_path / "token", TOKEN)
    mirror = opened(state / "mirror.git", f"{server.url}/requests.git", ca_file=server.ca_file, token_file=file)
    for requests in (1, 2):  # while git waits for the answer to a request with the token
        server.received.clear()
        server.hung.clear()
        server.hangs_after = requests
        server.hanging.set()
        fetched: list[str] = []
        fetch = threading.Thread(target=lambda fetched=fetched: fetched.append(mirror.fetch()))
        fetch.start()
        server.hung.wait()
        seen = visible_to_others()
        assert b"git-remote-https" in seen
        assert b"GIT_TERMINAL_PROMPT" in seen
        assert leaks(seen, [TOKEN]) == []
        server.hanging.clear()
        fetch.join()
        assert fetched == [commit]
    assert "Basic" in server.authorizations[-1]
    server.credentials = ("git", "another")
    assert leaks(repr(failure(mirror.fetch)).encode(), [TOKEN]) == []
    written = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert leaks(written, [TOKEN]) == []


def test_a_password_of_the_proxy_is_in_no_process_list(
    repository: BareRepository, server: HttpsServer, tmp_path: Path
) -> None:
    commit = repository.commit({"a": "a"})
    (tmp_path / "proxy").mkdir()
    with company_proxy(tmp_path / "proxy", "agent:Password-Canary") as address:
        proxy = Proxy.of(f"http://agent@{address}", "Password-Canary")
        url = f"https://git.test:{server.port}/requests.git"
        mirror = opened(tmp_path / "state", url, ca_file=server.ca_file, proxy=proxy)
        server.hanging.set()
        fetched: list[str] = []
        fetch = threading.Thread(target=lambda: fetched.append(mirror.fetch()))
        fetch.start()
        server.hung.wait()
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        server.hanging.clear()
        fetch.join()
    git = b"\n".join(line for line in lines if b"git" in line and b"--basic-auth" not in line)
    assert b"git-remote-https" in git
    assert leaks(git, ["Password-Canary"]) == []
    assert fetched == [commit]
    written = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert leaks(written, ["Password-Canary"]) == []


def test_no_other_protocol_is_spoken(repository: BareRepository, program: Path, tmp_path: Path) -> None:
    repository.commit({"a": "a"})
    mirror = opened(tmp_path / "mirror.git", repository.url)
    config = tmp_path / "mirror.git/config"
    config.write_text(config.read_text().replace(repository.url, f"ext::{program} %S").replace('"never"', '"always"'))
    failure(mirror.fetch)
    failure(mirror.remote_head)
    assert not (tmp_path / "ran").exists()


@needs_sshd
def test_a_forged_path_is_no_command_of_the_ssh_server(repository: BareRepository, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "ssh") as server:
        url = f"{server.url(repository)}';touch${{IFS}}{tmp_path}/ran;'"
        mirror = opened(tmp_path / "m.git", url, ssh_key_file=server.key_file, known_hosts_file=server.known_hosts_file)
        failure(mirror.fetch)
    assert not (tmp_path / "ran").exists()


def test_impossible_names_of_a_tree_arrive_unchanged(repository: BareRepository, tmp_path: Path) -> None:
    blob = repository.store(b"x")
    names = [b"..", b".git", b"a\nb", b"a/b", b"a\\b", b"\xff"]
    tree = repository.tree(("100644", name, blob) for name in sorted(names))
    commit = repository.commit_tree(repository.tree([("40000", b"specs", tree)]), [])
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert mirror.fetch() == commit
    assert sorted(entry.path for entry in mirror.entries(commit, "specs")) == sorted(names)


def test_a_tree_of_trees_without_end_is_bounded(
    repository: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = repository.store(b"x")
    tree = repository.tree(("100644", b"%d" % number, blob) for number in range(10))
    for _ in range(9):  # 10 ** 10 files
        tree = repository.tree([("40000", b"%d" % number, tree) for number in range(10)])
    commit = repository.commit_tree(tree, [])
    monkeypatch.setattr("agent.source.revisions.mirror._MOST_ENTRIES", 10_000)
    mirror = opened(tmp_path / "mirror.git", repository.url)
    assert mirror.fetch() == commit
    error = failure(lambda: sum(1 for _ in mirror.entries(commit, "")))
    assert (error.failure, error.detail) == ("too-large", "the folder has more than 10000 files")
