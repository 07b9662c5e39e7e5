"""`doctor` and `plan` against real git servers by https and ssh: each cause is said, and no secret shows."""

import base64
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.cli.command_runner import CommandResult, Here
from tests.support.git_servers import BareRepository, HttpsServer, https_server, make_ssh_key, needs_sshd, ssh_server
from verification.builders.request_files import capture, write

TOKEN = "glpat-0123456789abcdefghij"


@pytest.fixture
def bare(tmp_path: Path) -> BareRepository:
    """A repository with one request."""
    bare = BareRepository(tmp_path / "git/requests.git")
    bare.commit({"specs/a.yaml": capture("a")})
    return bare


@pytest.fixture
def server(tmp_path: Path, bare: BareRepository, here: Here) -> Iterator[HttpsServer]:
    """Serves it by https, with a token, and the command with all settings for it."""
    write(here.folder / "token", f"{TOKEN}\n").chmod(0o600)
    with https_server(tmp_path / "git", tmp_path / "tls") as server:
        server.credentials = ("git", TOKEN)
        here.env |= {
            "SOURCE_URL": f"{server.url}/requests.git",
            "SOURCE_PATH": "specs",
            "SOURCE_TOKEN_FILE": "token",
            "CA_FILE": str(server.ca_file),
            "CLIENT_ID": "",
        }
        server.ca_file.chmod(0o600)
        yield server


def the_server(said: CommandResult) -> tuple[str, str]:
    """State and message of the check of the git server."""
    ((state, message),) = [(c["state"], c["message"]) for c in said.json["checks"] if c["check"] == "git server"]
    return state, message


def test_a_private_repository_by_https(here: Here, server: HttpsServer, bare: BareRepository) -> None:
    """[I6]"""
    checked, planned = here("doctor", "-o", "json"), here("plan", "-o", "json")
    head = bare.head() or ""
    assert the_server(checked) == ("ok", f"branch main of {server.url}/requests.git is at {head[:12]}")
    assert (planned.code, planned.json["revision"]["commit"]) == (2, head)
    assert [change["name"] for change in planned.json["changes"]] == ["a"]
    for said in (checked, planned, here("config", "view")):
        assert TOKEN not in said.out + said.err
    assert not (here.folder / "state").exists()


def test_the_causes_of_an_answer_that_is_none(here: Here, server: HttpsServer) -> None:
    """[I6]"""
    write(here.folder / "wrong", "another-token-0123\n").chmod(0o600)
    causes = {
        "the git server does not accept the credentials": {"SOURCE_TOKEN_FILE": "wrong"},
        "the certificate of the git server is not trusted": {"CA_FILE": str(own_authority(here.folder))},
        "the repository does not have the branch": {"SOURCE_BRANCH": "gone"},
        "the git server has no such repository": {"SOURCE_URL": f"{server.url}/gone.git"},
        "the name of the git server is unknown": {"SOURCE_URL": "https://git.invalid/requests.git"},
        "the git server cannot be reached": {"SOURCE_URL": "https://localhost:1/requests.git"},
    }
    for cause, settings in causes.items():
        said = here("doctor", "-o", "json", **settings)
        state, message = the_server(said)
        assert state == "problem"
        assert message.startswith(cause), message
        planned = here("plan", **settings)
        planned.is_one_clear_error(f"{cause[0].upper()}{cause[1:]}")
        for text in (said.out, planned.err):
            assert "another-token-0123" not in text
    server.answer = 302
    assert the_server(here("doctor", "-o", "json"))[1].startswith("the git server redirects to another address")


def own_authority(folder: Path) -> Path:
    """The certificate of another authority."""
    path = folder / "other.pem"
    trustme.CA().cert_pem.write_to_path(path)
    path.chmod(0o600)
    return path


@needs_sshd
def test_a_repository_by_ssh(here: Here, bare: BareRepository, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "ssh") as server:
        here.env |= {
            "SOURCE_URL": server.url(bare),
            "SOURCE_PATH": "specs",
            "SOURCE_SSH_KEY_FILE": str(server.key_file),
            "SOURCE_KNOWN_HOSTS_FILE": str(server.known_hosts_file),
            "CLIENT_ID": "",
        }
        server.known_hosts_file.chmod(0o600)
        assert the_server(here("doctor", "-o", "json"))[0] == "ok"
        said = here("plan", "-o", "json")
        assert (said.code, said.json["revision"]["commit"]) == (2, bare.head())
        known = write(here.folder / "hosts", "")
        known.write_text(f"[127.0.0.1]:{server.port} {make_ssh_key(tmp_path / 'k').with_suffix('.pub').read_text()}")
        known.chmod(0o600)
        said = here("doctor", "-o", "json", SOURCE_KNOWN_HOSTS_FILE=str(known))
        assert the_server(said)[1].startswith("the ssh key of the git server is not a known one")
        other = make_ssh_key(tmp_path / "other")
        said = here("doctor", "-o", "json", SOURCE_SSH_KEY_FILE=str(other))
        assert the_server(said)[1].startswith("the git server does not accept the credentials")


def test_a_repository_by_http_on_loopback(here: Here, bare: BareRepository) -> None:
    """The server is a plain one for files, with git's oldest protocol, and asks for a password."""
    seen: list[str | None] = []

    class Files(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            if seen[-1] is None:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    bare.git("update-server-info")
    write(here.folder / "token", f"{TOKEN}\n").chmod(0o600)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(bare.folder.parent))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/requests.git"
            said = here("plan", "-o", "json", SOURCE_URL=url, SOURCE_PATH="specs", SOURCE_TOKEN_FILE="token")
        finally:
            server.shutdown()
            thread.join()
    assert (said.code, said.json["revision"]["commit"]) == (2, bare.head())
    assert f"Basic {base64.b64encode(f'git:{TOKEN}'.encode()).decode()}" in seen
