"""Files with settings and secrets that another user may have written are refused, and nothing is sent.

The tests run the command next to a server that records its requests.
"""

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.core.errors import AgentError, UntrustedFile
from agent.platform.git_index import tracked_files
from agent.platform.settings import load_settings
from agent.platform.token_host import refuse_foreign_token_host
from agent.sandbox import SandboxServer
from agent.store.identity_key import Keys
from tests.cli.command_runner import FREE_PORT, CommandResult, Here, finish, spawn
from tests.support.git import git
from verification.builders.request_files import upload, write

KEY = "k" * 32
ONCE = ("run", "--once", "--timeout", "20s", *FREE_PORT)
COMMANDS = (ONCE, ("plan",), ("get",), ("validate", "specs"), ("document-types",))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to give a file to another user takes root")


@dataclass
class Elsewhere:
    """A server of an attacker, and the paths of its requests."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A server that answers 404."""
    found = Elsewhere()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked.append(self.path)
            self.send_error(404)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *words: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def own(here: Here) -> Here:
    """The command in a folder with the agent's state and one request."""
    Keys.load_or_create(write(here.folder / "state/agent.db", b""))
    (here.folder / "state/agent.db").unlink()
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    here.env["CLAIMS_KEY"] = KEY
    return here


def by_somebody_else(path: Path) -> None:
    os.chown(path, 65534, 65534)


def for_all_to_write(path: Path) -> None:
    path.chmod(0o666)


def for_the_group_to_write(path: Path) -> None:
    path.chmod(0o660)


def in_git(path: Path) -> None:
    git(path.parent, "init", "-q")
    git(path.parent, "add", "-f", path.name)


def linked_in_git(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")
    git(path.parent, "init", "-q")
    git(path.parent, "add", "-f", path.name)


def in_a_folder_for_all(path: Path) -> None:
    path.parent.chmod(0o777)


def with_another_name(path: Path) -> None:
    path.with_name("another").hardlink_to(path)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


PLANTED = [
    pytest.param(by_somebody_else, "belongs to uid 65534", marks=as_root, id="owner"),
    pytest.param(for_all_to_write, "has mode 0666", id="0666"),
    pytest.param(for_the_group_to_write, "has mode 0660", id="0660"),
    pytest.param(in_git, "is tracked by git", id="tracked"),
    pytest.param(linked_in_git, "is tracked by git", id="link"),
    pytest.param(in_a_folder_for_all, "has mode 0777", id="folder"),
    pytest.param(with_another_name, "has 2 hard links", id="hard link"),
    pytest.param(a_pipe, "is not a regular file", id="pipe"),
]


@pytest.mark.parametrize(("plant", "expected"), PLANTED)
@pytest.mark.parametrize("name", [".env", "assure-agent.yaml", "named.env"])
def test_a_settings_file_that_another_user_may_have_written_is_refused(
    own: Here, elsewhere: Elsewhere, name: str, plant: Callable[[Path], None], expected: str
) -> None:
    file = own.folder / name
    yaml = name.endswith("yaml")
    for_us = f"token_url: {elsewhere.url}/t\n" if yaml else f"ASSURE_AGENT_TOKEN_URL={elsewhere.url}/t\n"
    write(file, for_us).chmod(0o600)
    plant(file)
    named = ("--env-file", name) if name == "named.env" else ()
    for command in COMMANDS if plant is for_all_to_write else (ONCE,):
        said = own(*command, *named, BASE_URL=elsewhere.url, TOKEN_HOST="localhost")
        said.is_one_clear_error(name, expected, "" if named else "-file '' to ignore it", code=2)
        assert "sandbox-secret" not in said.out + said.err
    said = own("doctor", *named, BASE_URL=elsewhere.url)
    assert (said.code, said.err) == (1, "")
    assert expected in said.out
    assert elsewhere.asked == []
    assert not (own.folder / "state/agent.db").exists()


@pytest.mark.parametrize(("plant", "expected"), PLANTED)
@pytest.mark.parametrize("name", ["CLIENT_SECRET", "CLAIMS_KEY"])
def test_a_secret_file_that_another_user_may_have_written_is_refused(
    own: Here, name: str, plant: Callable[[Path], None], expected: str
) -> None:
    """[I6]"""
    file = write(own.folder / "kept/secret", "hunter2" * 8)
    file.chmod(0o600)
    plant(file)
    own.env.pop(name)
    said = own("get", **{f"{name}_FILE": "kept/secret"})
    said.is_one_clear_error(f"{name}_FILE", expected, code=2)
    assert "hunter2" not in said.err + said.out


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o644])
@as_root
def test_a_secret_of_a_container_platform_is_accepted(own: Here, mode: int) -> None:
    """The file belongs to root, is readable for every user, and is behind the links of Kubernetes."""
    write(own.folder / "mount/..2026/client-secret", "hunter2\n").chmod(mode)
    (own.folder / "mount/..data").symlink_to("..2026")
    (own.folder / "mount/client-secret").symlink_to("..data/client-secret")
    (own.folder / "mount").chmod(0o1777)
    said = own("doctor", "--offline", "-o", "json", CLIENT_SECRET="", CLIENT_SECRET_FILE="mount/client-secret")
    assert ("ASSURE_AGENT_CLIENT_SECRET", "set", "file") in [
        (one["name"], one["value"], one["from"]) for one in said.json["settings"]
    ], said


def test_a_config_map_of_kubernetes_is_accepted(own: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder has mode 0777, and is mounted read-only."""
    volume = own.folder / "volume"
    write(volume / "..2026/assure-agent.yaml", "max_starts_per_day: 5\n").chmod(0o644)
    (volume / "..data").symlink_to("..2026")
    (volume / "assure-agent.yaml").symlink_to("..data/assure-agent.yaml")
    volume.chmod(0o777)
    parts = ("doctor", "--offline", "-o", "json", "--config-file", "volume/assure-agent.yaml")
    assert "has mode 0777" in own(*parts).out
    read_only = os.statvfs_result((*tuple(os.statvfs(volume))[:8], os.ST_RDONLY, 255))
    monkeypatch.setattr("agent.platform.trusted_files.os.statvfs", lambda _: read_only)
    assert _start_limit(own(*parts)) == "5"


@as_root
def test_a_folder_without_access_has_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `sudo -u agent assure-agent get` in the home folder of another user."""
    write(tmp_path / ".env", "ASSURE_AGENT_MAX_STARTS_PER_DAY=5\n")
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        assert load_settings().max_starts_per_day == 0
    finally:
        os.seteuid(0)


@as_root
def test_an_own_secret_that_others_can_read_is_refused(own: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root accepts mode 0444 of container platforms; any other user can change the mode."""
    file = write(own.folder / "secret", "hunter2")
    file.chmod(0o644)
    for path in (own.folder, file):
        os.chown(path, 65534, 65534)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(UntrustedFile, match="other users can read this secret"):
        load_settings(client_secret_file=file)
    for mode in (0o600, 0o440):  # in the group of this user alone, as Docker's own examples have it
        file.chmod(mode)
        assert load_settings(client_secret_file=file).client_secret.get_secret_value() == "hunter2"
    os.chown(file, 65534, 1)
    with pytest.raises(UntrustedFile, match="other users can read this secret"):
        load_settings(client_secret_file=file)
    read_only = os.statvfs_result((*tuple(os.statvfs(file))[:8], os.ST_RDONLY, 255))
    monkeypatch.setattr("agent.platform.trusted_files.os.statvfs", lambda _: read_only)
    assert load_settings(client_secret_file=file).client_secret, "a mount that this user cannot change the mode in"


@as_root
def test_a_user_without_an_entry_has_the_group_of_its_number(own: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `docker run -u 54321:54321` on a folder that was created with umask 002."""
    file = write(own.folder / "secret", "hunter2")
    file.chmod(0o600)
    for path in (own.folder, file):
        os.chown(path, 54321, 54321)
    own.folder.chmod(0o775)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(UntrustedFile, match="has mode 0775"):
        load_settings(client_secret_file=file)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    assert load_settings(client_secret_file=file).client_secret.get_secret_value() == "hunter2"


def test_nothing_is_interpolated_and_nothing_is_sent(own: Here, elsewhere: Elsewhere) -> None:
    """[I6] Otherwise the path of a request would contain the claims key."""
    for value in ("${ASSURE_AGENT_CLAIMS_KEY}", "$ASSURE_AGENT_CLAIMS_KEY", "${HOME:-x}"):
        write(own.folder / ".env", f"ASSURE_AGENT_TOKEN_URL={elsewhere.url}/{value}/\n").chmod(0o600)
        said = own(*ONCE, BASE_URL="http://127.0.0.1:9")
        assert said.code in (1, 2)
        assert KEY not in said.err + said.out
    write(own.folder / ".env", "ASSURE_AGENT_SPECS_DIR=${ASSURE_AGENT_CLAIMS_KEY}\n").chmod(0o600)
    shown = {one["name"]: one["value"] for one in own("doctor", "--offline", "-o", "json").json["settings"]}
    assert shown["ASSURE_AGENT_SPECS_DIR"] == "${ASSURE_AGENT_CLAIMS_KEY}"
    assert elsewhere.asked == []


@pytest.mark.parametrize("place", [".env", "assure-agent.yaml", "environment"])
def test_client_id_and_secret_are_sent_to_no_other_host(own: Here, elsewhere: Elsewhere, place: str) -> None:
    """This applies to every source of TOKEN_URL. Only TOKEN_HOST in the environment or a flag allows another host."""
    env = {"BASE_URL": "http://127.0.0.1:9"}
    if place == "environment":
        env["TOKEN_URL"] = f"{elsewhere.url}/token"
    else:
        line = (
            f"token_url: {elsewhere.url}/token\n"
            if place.endswith("yaml")
            else f"ASSURE_AGENT_TOKEN_URL={elsewhere.url}/token\n"
        )
        write(own.folder / place, line).chmod(0o600)
    for command in (ONCE, ("document-types",), ("doctor",)):
        said = own(*command, **env)
        assert "the agent does not send the client id and secret to another host" in said.err + said.out, said
        assert said.code == (1 if command == ("doctor",) else 2)
    if place != "environment":
        more = "token_host: localhost\n" if place.endswith("yaml") else "ASSURE_AGENT_TOKEN_HOST=localhost\n"
        write(own.folder / place, (own.folder / place).read_text() + more).chmod(0o600)
        own(*ONCE, **env).is_one_clear_error(place, "from the environment or a flag only", code=2)
        write(own.folder / place, line).chmod(0o600)
    assert elsewhere.asked == []
    own("document-types", **env, TOKEN_HOST="localhost")
    own("document-types", "--token-host", elsewhere.url.removeprefix("http://"), **env)
    assert set(elsewhere.asked) == {"/token"}


@pytest.mark.parametrize(
    ("base", "token", "taken"),
    [
        ("https://api.signicat.com", "https://api.signicat.com/auth/open/connect/token", True),
        ("https://api.signicat.com", "https://API.signicat.com.:443/token", True),
        ("https://api.signicat.com", "https://preprod.signicat.com/oidc/token", True),
        ("https://api.signicat.com", "https://signicat.com.evil.example/token", False),
        ("https://api.signicat.com", "https://evilsignicat.com/token", False),
        ("https://api.signicat.com", "https://[::1]/token", False),
        ("https://evil.example", "https://api.signicat.com/token", False),
        ("https://good.co.uk", "https://evil.co.uk/token", False),
        ("https://a.example.com", "https://b.example.com/token", False),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:1/b/token", True),
    ],
)
def test_the_token_endpoint_is_on_the_host_of_assure_or_of_its_vendor(base: str, token: str, taken: bool) -> None:
    if taken:
        assert load_settings(base_url=base, token_url=token).token_url
        return
    with pytest.raises(UntrustedFile, match="does not send the client id and secret to another host"):
        load_settings(base_url=base, token_url=token)


@pytest.mark.parametrize(
    ("base", "token"),
    [
        ("https://api.signicat.com", "https://api.signicat.com:8443/token"),
        ("http://127.0.0.1:1", "http://127.0.0.1:2/token"),
    ],
)
def test_another_port_of_the_same_host_needs_the_environment_or_a_flag(base: str, token: str) -> None:
    """A file cannot name another port, because another user may listen on it."""
    assert load_settings(base_url=base, token_url=token).token_url == token
    with pytest.raises(UntrustedFile, match="does not send the client id and secret to another host"):
        refuse_foreign_token_host(base, token, "", of_file=True)


def test_the_scope_of_an_ipv6_address_is_not_a_host_of_the_vendor() -> None:
    """A scope is free text, and may end in the domain of the vendor."""
    for scope in ("%25.signicat.com", "%.signicat.com", "%25eth0"):
        with pytest.raises(AgentError, match="its host is invalid"):
            load_settings(base_url="https://api.signicat.com", token_url=f"https://[2001:db8::1{scope}]/token")


@pytest.mark.parametrize(
    ("host", "token"),
    [
        ("[::1]", "https://[::1]/token"),
        ("[::1]", "https://[::1]:8443/token"),
        ("[::1]:8443", "https://[::1]:8443/token"),
        ("idp.example.", "https://idp.example/token"),
        ("IDP.example.:8443", "https://idp.example.:8443/token"),
    ],
)
def test_token_host_allows_each_spelling_of_a_host(host: str, token: str) -> None:
    assert load_settings(token_url=token, token_host=host).token_url == token
    with pytest.raises(UntrustedFile) as refused:
        load_settings(token_url=token)
    hinted = refused.value.hint.split("--token-host ")[1].split()[0]
    assert load_settings(token_url=token, token_host=hinted).token_url == token


def test_the_token_host_is_part_of_the_account_of_a_store(own: Here, remote: SandboxServer) -> None:
    (own.folder / "state/agent.key").unlink()
    env = {"BASE_URL": remote.url, "POLL_INTERVAL": "1s"}
    assert own(*ONCE, **env).code == 0
    host = remote.url.replace("127.0.0.1", "localhost")
    env |= {"TOKEN_URL": f"{host}/auth/open/connect/token", "TOKEN_HOST": "localhost"}
    own(*ONCE, **env).is_one_clear_error("belongs to another Assure account", "localhost", "--rebind")
    assert "not to" in own("doctor", **env).out
    assert own(*ONCE, "--rebind", **env).code == 0
    assert own(*ONCE, **env).code == 0


def test_a_settings_file_in_a_folder_without_state_must_be_named(here: Here) -> None:
    """The file may be part of an unpacked archive. A start limit in it is not silently ignored."""
    for name, content, option in (
        (".env", "ASSURE_AGENT_MAX_STARTS_PER_DAY=5\n", "--env-file"),
        ("assure-agent.yaml", "max_starts_per_day: 5\n", "--config-file"),
    ):
        file = write(here.folder / name, content)
        file.chmod(0o600)
        for command in COMMANDS:
            said = here(*command)
            said.is_one_clear_error(f"{name} was not read", f"{option} {name}", code=2)
        for parts in ((option, name, "doctor"), ("doctor", f"{option}={name}")):
            assert _start_limit(here(*parts, "--offline", "-o", "json")) == "5"
        variable = option.removeprefix("--").replace("-", "_").upper()
        assert _start_limit(here("doctor", "--offline", "-o", "json", **{variable: name})) == "5"
        assert _start_limit(here("doctor", "--offline", "-o", "json", option, "")) == "0"
        file.unlink()


def test_an_env_file_of_another_program_is_ignored(here: Here) -> None:
    write(here.folder / ".env", "DATABASE_URL=postgres://\nnot a line of the agent\n").chmod(0o666)
    git(here.folder, "init", "-q")
    git(here.folder, "add", "-f", ".env")
    assert here("validate", "specs").code == 0
    write(here.folder / ".env", "assure_agent_max_starts_per_day=0\n")
    assert here("validate", "specs").code == 2
    for line in (
        "# the port is that of ASSURE_AGENT_LISTEN",
        "#ASSURE_AGENT_LISTEN=127.0.0.1:9464",
        "URL=http://proxy/?for=ASSURE_AGENT_LISTEN",
        "MY_ASSURE_AGENT_URL=http://agent:9464",
    ):
        write(here.folder / ".env", f'X=\n{line}\nNOTE="open\n')
        assert here("validate", "specs").code == 0, line
    for line in (
        b"export ASSURE_AGENT_",
        b"\t'assure_agent_",
        b"X=1\rASSURE_AGENT_",
        b"\xef\xbb\xbfASSURE_AGENT_",
        b"X='\nASSURE_AGENT_",
    ):
        write(here.folder / ".env", line + b"MAX_STARTS_PER_DAY=0\n")
        assert here("validate", "specs").code == 2, line
    (here.folder / ".env").unlink()
    (here.folder / ".env/bin").mkdir(parents=True)
    assert here("validate", "specs").code == 0


def test_after_make_run_a_private_env_file_is_read(here: Here) -> None:
    """As in the README: clone, `make run`, `.env`, `run`."""
    assert finish(spawn(here.folder, "run", "--sandbox", "--once", *FREE_PORT)).code == 0
    write(here.folder / ".env", "ASSURE_AGENT_MAX_STARTS_PER_DAY=5\n").chmod(0o600)
    assert _start_limit(here("doctor", "--offline", "-o", "json")) == "5"
    git(here.folder, "init", "-q")
    git(here.folder, "add", "specs", "images")
    assert _start_limit(here("doctor", "--offline", "-o", "json")) == "5"
    (here.folder / "state/sandbox/agent.key").chmod(0o644)  # as a checkout or an archive would have it
    assert "was not read" in here("doctor", "--offline").out


def _start_limit(said: CommandResult) -> str:
    (shown,) = [one["value"] for one in said.json["settings"] if one["name"] == "ASSURE_AGENT_MAX_STARTS_PER_DAY"]
    return str(shown)


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_every_version_of_the_git_index_is_read(tmp_path: Path, version: str, kind: str) -> None:
    names = {
        f"{folder}{stem}" for folder in ("", "a/", "a/b/", "long" * 60 + "/") for stem in ("x", "xy", "ü", "x" * 9)
    }
    for name in names:
        write(tmp_path / name, name)
    git(tmp_path, "init", "-q", f"--object-format={kind}")
    git(tmp_path, "add", ".")
    git(tmp_path, "update-index", "--index-version", version)
    if version == "3":
        git(tmp_path, "update-index", "--skip-worktree", "a/x")
    assert tracked_files(tmp_path / ".git/index") == {name.encode() for name in names}


def test_a_damaged_git_index_is_not_treated_as_empty(tmp_path: Path) -> None:
    write(tmp_path / "a", "a")
    git(tmp_path, "init", "-q")
    assert tracked_files(tmp_path / ".git/index") == frozenset()
    assert tracked_files(tmp_path / "no/index") is None
    git(tmp_path, "add", ".")
    whole = (tmp_path / ".git/index").read_bytes()
    for cut in range(1, len(whole)):
        assert tracked_files(write(tmp_path / "copy/index", whole[:cut])) is None
    git(tmp_path, "update-index", "--split-index")
    assert tracked_files(tmp_path / ".git/index") is None
    write(tmp_path / "secret", "hunter2").chmod(0o600)
    with pytest.raises(UntrustedFile, match="whose index cannot be read"):
        load_settings(client_secret_file=tmp_path / "secret")


def test_worktrees_and_nested_checkouts_are_searched(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    write(outer / "inner/secret", "hunter2").chmod(0o600)
    git(outer, "init", "-q")
    git(outer, "add", ".")
    git(outer, "commit", "-q", "-m", "a change")
    git(outer / "inner", "init", "-q")
    git(outer, "worktree", "add", "-q", str(tmp_path / "tree"))
    for folder in (outer, tmp_path / "tree"):
        (folder / "inner/secret").chmod(0o600)
        with pytest.raises(UntrustedFile, match="is tracked by git"):
            load_settings(client_secret_file=folder / "inner/secret")


def test_an_index_that_is_not_a_regular_file_does_not_block(tmp_path: Path) -> None:
    """Otherwise every command that finds a `.env` would block."""
    os.mkfifo(tmp_path / "index")
    assert tracked_files(tmp_path / "index") is None
