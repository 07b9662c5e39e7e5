"""Every cause of a failed fetch has a name, from what a real server and the real git say."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from agent.core.source_revision import FetchFailure
from agent.platform.proxy import Proxy
from agent.platform.settings import Settings
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError, Result, failure_of
from agent.source.revisions.mirror import Mirror
from tests.store.test_disk_full import in_little_room
from tests.support.company_proxy import company_proxy
from tests.support.git_servers import BareRepository, HttpsServer, https_server, make_ssh_key, needs_sshd, ssh_server

from .mirrors import failure, opened, token_file

TOKEN = "ghp_Token-Canary0123456789"


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    repository = BareRepository(tmp_path / "root/team/requests.git")
    repository.commit({"specs/one.yaml": "one", "README": "read me"})
    return repository


@pytest.fixture
def server(repository: BareRepository, tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path / "root", tmp_path / "tls") as server:
        yield server


def mirror_of(server: HttpsServer, tmp_path: Path, name: str = "requests", **access: Any) -> Mirror:
    return opened(tmp_path / "mirror.git", f"{server.url}/team/{name}.git", **{"ca_file": server.ca_file} | access)


def both(mirror: Mirror) -> FetchError:
    """The error of the head, which that of a fetch resembles."""
    asked, fetched = failure(mirror.remote_head), failure(mirror.fetch)
    assert asked.failure == fetched.failure
    return asked


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, FetchFailure.MOVED),
        (302, FetchFailure.MOVED),
        (308, FetchFailure.MOVED),
        (401, FetchFailure.AUTHENTICATION),
        (403, FetchFailure.AUTHENTICATION),
        (404, FetchFailure.NOT_FOUND),
        (410, FetchFailure.NOT_FOUND),
        (429, FetchFailure.NETWORK),
        (500, FetchFailure.NETWORK),
        (503, FetchFailure.NETWORK),
    ],
)
def test_a_status_of_the_server_has_a_cause(
    server: HttpsServer, tmp_path: Path, status: int, expected: FetchFailure
) -> None:
    server.answer = status
    assert both(mirror_of(server, tmp_path)).failure is expected


def test_a_redirect_is_not_followed(server: HttpsServer, tmp_path: Path) -> None:
    server.answer, server.location = 302, f"{server.url}/team/other.git/info/refs"
    mirror = mirror_of(server, tmp_path, token_file=token_file(tmp_path / "token", TOKEN))
    failure(mirror.remote_head)
    assert [path for _, path, _, _ in server.received if "other" in path] == []


@pytest.mark.parametrize("given", [None, "wrong"])
def test_credentials_that_the_server_refuses(server: HttpsServer, tmp_path: Path, given: str | None) -> None:
    server.credentials = ("git", TOKEN)
    file = token_file(tmp_path / "token", given) if given else None
    error = both(mirror_of(server, tmp_path, token_file=file))
    assert error.failure is FetchFailure.AUTHENTICATION
    assert "wrong" not in str(error)


def test_a_token_is_read_at_each_use(server: HttpsServer, tmp_path: Path, repository: BareRepository) -> None:
    server.credentials = ("git", "first")
    file = token_file(tmp_path / "a 'quoted' token", "first\r\n")
    mirror = mirror_of(server, tmp_path, token_file=file)
    assert mirror.fetch() == repository.head()
    server.credentials = ("git", "$(touch x) `\"'\\;")
    file.write_text("$(touch x) `\"'\\;")
    assert mirror.remote_head() == repository.head()


def test_the_user_of_the_url_goes_with_the_token(
    server: HttpsServer, tmp_path: Path, repository: BareRepository
) -> None:
    server.credentials = ("deploy-1", TOKEN)
    url = f"{server.url.replace('://', '://deploy-1@')}/team/requests.git"
    file = token_file(tmp_path / "token", TOKEN)
    mirror = opened(tmp_path / "mirror.git", url, ca_file=server.ca_file, token_file=file)
    assert mirror.fetch() == repository.head()
    server.answer = 403
    assert "deploy-1" not in str(failure(mirror.fetch))


@pytest.mark.parametrize("content", ["", "two\nlines", "a\x07bell"])
def test_a_token_file_without_a_token(server: HttpsServer, tmp_path: Path, content: str) -> None:
    error = failure(mirror_of(server, tmp_path, token_file=token_file(tmp_path / "token", content)).fetch)
    assert error.failure is FetchFailure.AUTHENTICATION
    assert "SOURCE_TOKEN_FILE" in error.detail
    assert server.received == []


def test_a_missing_token_file(server: HttpsServer, tmp_path: Path) -> None:
    error = failure(mirror_of(server, tmp_path, token_file=tmp_path / "none").fetch)
    assert (error.failure, error.detail) == (
        FetchFailure.AUTHENTICATION,
        "SOURCE_TOKEN_FILE: No such file or directory",
    )


def test_a_server_that_repeats_the_token_does_not_get_it_logged(server: HttpsServer) -> None:
    said = f"remote: token {TOKEN} is unknown\nfatal: repository 'https://me:{TOKEN}@host/{TOKEN}' not found\x1b[31m\n"
    error = failure_of(Result(128, said), secrets=[TOKEN])
    assert error.detail == "fatal: repository 'https://host/***' not found [31m"
    short = failure_of(Result(128, said), secrets=["o"])
    assert short.failure is FetchFailure.NOT_FOUND
    assert "o" not in short.detail.replace("***", "")


def test_an_authority_that_is_not_trusted(server: HttpsServer, tmp_path: Path) -> None:
    assert both(mirror_of(server, tmp_path, ca_file=None)).failure is FetchFailure.TLS
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    assert both(mirror_of(server, tmp_path, ca_file=other)).failure is FetchFailure.TLS


def test_a_certificate_for_another_host(server: HttpsServer, tmp_path: Path) -> None:
    url = f"https://127.0.0.2:{server.port}/team/requests.git"
    assert both(opened(tmp_path / "mirror.git", url, ca_file=server.ca_file)).failure in (
        FetchFailure.TLS,
        FetchFailure.NETWORK,  # a system without that address
    )


def test_ca_file_is_trusted_in_addition_to_the_system(server: HttpsServer, tmp_path: Path) -> None:
    mirror_of(server, tmp_path)
    trusted = (tmp_path / "mirror.git/authorities.pem").read_text()
    assert server.ca_file.read_text().strip() in trusted
    assert trusted.count("BEGIN CERTIFICATE") > 10


def test_no_server_and_an_unknown_host(server: HttpsServer, tmp_path: Path) -> None:
    assert both(opened(tmp_path / "a.git", "https://127.0.0.1:1/x.git")).failure is FetchFailure.NETWORK
    assert both(opened(tmp_path / "b.git", "https://no-host.invalid/x.git")).failure is FetchFailure.DNS
    assert both(opened(tmp_path / "c.git", "ssh://no-host.invalid/x.git")).failure is FetchFailure.DNS
    assert both(opened(tmp_path / "d.git", "git@127.0.0.1:1/x.git")).failure is not FetchFailure.OTHER


@pytest.mark.parametrize("at", [0, 10, 150])
def test_a_connection_that_ends_early(server: HttpsServer, tmp_path: Path, at: int) -> None:
    server.cut_after = at
    assert both(mirror_of(server, tmp_path)).failure is FetchFailure.NETWORK


def test_a_server_that_does_not_answer(server: HttpsServer, tmp_path: Path) -> None:
    server.hanging.set()
    error = failure(mirror_of(server, tmp_path, timeout=0.5).fetch)
    assert (error.failure, error.detail) == (FetchFailure.TIMEOUT, "git did not end within 0.5 s")


def test_a_page_instead_of_a_repository(server: HttpsServer, tmp_path: Path) -> None:
    server.answer, server.body = 200, b"<html>\nPlease log in\n</html>\n"
    assert both(mirror_of(server, tmp_path)).failure is FetchFailure.NOT_FOUND


def test_a_repository_that_moved_away(repository: BareRepository, server: HttpsServer, tmp_path: Path) -> None:
    mirror = mirror_of(server, tmp_path)
    commit = mirror.fetch()
    repository.folder.rename(repository.folder.with_name("moved.git"))
    assert both(mirror).failure is FetchFailure.NOT_FOUND
    assert mirror.has(commit)
    assert both(opened(tmp_path / "file.git", repository.url)).failure is FetchFailure.NOT_FOUND


def test_a_branch_that_is_gone(repository: BareRepository, tmp_path: Path) -> None:
    mirror = opened(tmp_path / "mirror.git", repository.url, branch="requests")
    error = both(mirror)
    assert error.failure is FetchFailure.NO_BRANCH
    assert error.detail == "the repository has no branch 'requests'; its default branch is 'main'"
    repository.commit({"a": "a"}, branch="requests")
    commit = mirror.fetch()
    repository.git("update-ref", "-d", "refs/heads/requests")
    assert both(mirror).failure is FetchFailure.NO_BRANCH
    assert mirror.has(commit)


def test_an_empty_repository(tmp_path: Path) -> None:
    error = both(opened(tmp_path / "mirror.git", BareRepository(tmp_path / "empty.git").url))
    assert (error.failure, error.detail) == (
        FetchFailure.NO_BRANCH,
        "the repository has no branch 'main'; perhaps it is empty",
    )


@pytest.mark.parametrize("branch", ["a..b", "two words", "a\nb", "", "x.lock", "a:b"])
def test_a_name_that_no_branch_can_have(repository: BareRepository, tmp_path: Path, branch: str) -> None:
    error = failure(lambda: opened(tmp_path / "mirror.git", repository.url, branch=branch))
    assert error.failure is FetchFailure.NO_BRANCH


@pytest.mark.parametrize("by_https", [False, True])
def test_too_much(repository: BareRepository, server: HttpsServer, tmp_path: Path, by_https: bool) -> None:
    repository.git("config", "uploadpack.allowFilter", "false")
    small = repository.head()
    url = f"{server.url}/team/requests.git" if by_https else repository.url
    mirror = opened(tmp_path / "mirror.git", url, ca_file=server.ca_file, max_bytes=1_000_000)
    assert mirror.fetch() == small
    repository.commit({"large": os.urandom(3_000_000)})
    error = failure(mirror.fetch)
    assert (error.failure, error.detail) == (FetchFailure.TOO_LARGE, "the server sent more than 1000000 bytes")
    assert sum(path.stat().st_size for path in mirror.objects.rglob("*") if path.is_file()) < 100_000
    assert small is not None
    assert mirror.has(small)


def test_a_damaged_repository(repository: BareRepository, tmp_path: Path) -> None:
    tree = repository.git("rev-parse", "main:specs")
    (repository.folder / "objects" / tree[:2] / tree[2:]).unlink()
    assert failure(opened(tmp_path / "mirror.git", repository.url).fetch).failure is FetchFailure.DAMAGED


def test_a_repository_of_another_user(repository: BareRepository, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (repository.folder, *repository.folder.rglob("*")):
        os.chown(path, 65534, 65534)
    error = failure(opened(tmp_path / "mirror.git", repository.url).fetch)
    assert (error.failure, "dubious ownership" in error.detail) == (FetchFailure.OTHER, True)


def test_a_machine_without_git(repository: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    assert failure(lambda: opened(tmp_path / "mirror.git", repository.url)).failure is FetchFailure.NO_GIT
    (tools / "git").write_text("#!/bin/sh\necho git version 2.30.1\n")
    (tools / "git").chmod(0o755)
    error = failure(lambda: opened(tmp_path / "mirror.git", repository.url))
    assert (error.failure, error.detail) == (
        FetchFailure.NO_GIT,
        "git 2.34 or newer is needed, found: git version 2.30.1",
    )


def test_a_machine_without_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tools))
    assert both(opened(tmp_path / "mirror.git", "ssh://127.0.0.1:1/x.git")).failure is FetchFailure.NO_GIT


def test_a_place_that_cannot_be_written(repository: BareRepository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert failure(lambda: opened(tmp_path / "file/mirror.git", repository.url)).failure is FetchFailure.DISK
    mirror = opened(tmp_path / "mirror.git", repository.url)
    shutil.rmtree(tmp_path / "mirror.git")
    assert both(mirror).failure is FetchFailure.DISK


def test_a_full_disk(repository: BareRepository, tmp_path: Path) -> None:
    repository.git("config", "uploadpack.allowFilter", "false")
    small = repository.head()
    repository.commit({"large": os.urandom(1_500_000)}, branch="large")
    said = in_little_room(f"""
from agent.source.revisions.fetch_errors import FetchError
from tests.source.revisions.mirrors import failure, opened
from tests.support.timeouts import eventually
def mirror(branch):
    return opened(Path("/mnt/mirror.git"), {repository.url!r}, branch=branch)
print(mirror("main").fetch())
leave(600_000)
print(failure(mirror("large").fetch).failure)
print(os.statvfs("/mnt").f_bfree * os.statvfs("/mnt").f_frsize > 500_000)
def refused():
    ballast.unlink()
    leave(0)
    try:
        mirror("main")
    except FetchError as error:
        return error.failure == "disk"
eventually(refused)  # a process that was killed keeps its open files a moment longer
ballast.unlink()
print(mirror("main").fetch(), mirror("main").has({small!r}), len(mirror("large").fetch()))
""")
    assert said == [small, "disk", "True", small, "True", "40"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output", "disk"),
        ("error: unable to create temporary file: Permission denied\nfatal: index-pack failed", "disk"),
        ("fatal: Out of memory, malloc failed (tried to allocate 999 bytes)", "too-large"),
        ("fatal: early EOF\nfatal: fetch-pack: invalid index-pack output", "network"),
        ("fatal: unable to access 'https://h/': Received HTTP code 407 from proxy after CONNECT", "authentication"),
        ("fatal: unable to access 'https://h/': Could not resolve proxy: proxy.invalid", "dns"),
        ("fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate", "tls"),
        ("something else", "other"),
    ],
)
def test_messages_of_other_machines(said: str, expected: str) -> None:
    assert failure_of(Result(128, said)).failure == expected


@needs_sshd
@pytest.mark.parametrize("accepts_protocol", [True, False])
def test_ssh_with_its_own_key_and_the_known_host(
    repository: BareRepository, tmp_path: Path, accepts_protocol: bool
) -> None:
    with ssh_server(tmp_path / "ssh", accepts_protocol) as server:
        odd = tmp_path / "100% 'odd' \\ $HOME"
        odd.mkdir(0o700)
        access = {
            "ssh_key_file": server.key_file.rename(odd / "key"),
            "known_hosts_file": server.known_hosts_file.rename(odd / "hosts"),
        }
        mirror = opened(tmp_path / "mirror.git", server.url(repository), **access)
        commit = mirror.fetch()
        blob = next(entry.blob for entry in mirror.entries(commit, "specs"))
        mirror.fetch_blobs([blob])
        assert list(mirror.contents([blob], 100)) == [(blob, b"one")]


@needs_sshd
def test_ssh_that_refuses(repository: BareRepository, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "ssh") as server:
        url = server.url(repository)
        good = SimpleNamespace(ssh_key_file=server.key_file, known_hosts_file=server.known_hosts_file)
        stranger = make_ssh_key(tmp_path / "stranger")

        def cause(**other: Any) -> FetchFailure:
            return both(opened(tmp_path / "mirror.git", **{"url": url} | vars(good) | other)).failure

        assert cause(ssh_key_file=stranger) is FetchFailure.AUTHENTICATION
        assert cause(ssh_key_file=None) is FetchFailure.AUTHENTICATION
        assert cause(known_hosts_file=None) is FetchFailure.HOST_KEY
        assert cause(url=f"{url}.not") is FetchFailure.NOT_FOUND
        host = server.known_hosts_file.read_text().split()[0]
        server.known_hosts_file.write_text(f"{host} {stranger.with_suffix('.pub').read_text()}")
        assert cause() is FetchFailure.HOST_KEY


def test_the_proxy_of_the_company(repository: BareRepository, server: HttpsServer, tmp_path: Path) -> None:
    url = f"https://git.test:{server.port}/team/requests.git"  # a name that only the proxy knows
    (tmp_path / "proxy").mkdir()
    with company_proxy(tmp_path / "proxy", "agent:pass @:/word") as address:
        proxy = Proxy.of(f"http://agent@{address}", "pass @:/word")
        mirror = opened(tmp_path / "mirror.git", url, ca_file=server.ca_file, proxy=proxy)
        assert mirror.fetch() == repository.head()
        assert b"word" not in (tmp_path / "mirror.git/config").read_bytes()
        wrong = Proxy.of(f"http://agent@{address}", "Wrong-Canary")
        error = failure(opened(tmp_path / "mirror.git", url, ca_file=server.ca_file, proxy=wrong).fetch)
        assert error.failure is FetchFailure.AUTHENTICATION
        assert "Canary" not in error.detail


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://h/x", "https"),
        ("https://me@h:8443/x.git", "https"),
        ("ssh://git@h:22/x", "ssh"),
        ("git@h:team/x.git", "ssh"),
        ("h:x", "ssh"),
        ("file:///x y/ü.git", "file"),
    ],
)
def test_addresses_that_the_agent_can_use(url: str, protocol: str) -> None:
    assert RepositoryAccess(url=url, branch="main").protocol == protocol


def test_the_settings_of_a_repository(tmp_path: Path) -> None:
    known = {"proxy_url": "http://me@proxy.example:3128", "proxy_password": "secret", "no_proxy": ["inside.example"]}
    keys = {"source_ssh_key_file": tmp_path / "key", "source_known_hosts_file": tmp_path / "known_hosts"}
    urls = {"https://outside.example/x": True, "https://inside.example/x": False, "git@outside.example:x": False}
    for url, by_proxy in urls.items():
        settings = Settings(
            source_url=url,
            source_branch="requests",
            source_max_bytes="1MiB",
            source_timeout="10s",
            **({"source_token_file": tmp_path / "token"} if url.startswith("https") else keys),
            **known,
        )
        access = RepositoryAccess.of(settings)
        assert (access.proxy is not None) == by_proxy
        assert (access.url, access.branch, access.max_bytes, access.timeout) == (url, "requests", 1 << 20, 10.0)
        files = (access.token_file, access.ssh_key_file, access.known_hosts_file)
        expected = (tmp_path / "token", None, None) if url.startswith("https") else (None, *keys.values())
        assert files == expected
        assert "secret" not in repr(access)
