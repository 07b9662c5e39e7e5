"""The installed command with a git source on a real server: https with an own authority and a token, and ssh."""

import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.acceptance.fetching import Commands, done, shows
from tests.acceptance.installed_command import Office
from tests.acceptance.sources import Repository
from tests.support.git_servers import HttpsServer, https_server, make_ssh_key, needs_sshd, ssh_server

pytestmark = pytest.mark.git_source

USER, FIRST, SECOND = "robot", "the-first-token-of-this-test", "the-second-token-of-this-test"


@pytest.fixture
def server(tmp_path: Path, office: Office) -> Iterator[HttpsServer]:
    """An https server with a token, whose authority is the office's CA_FILE."""
    with https_server(tmp_path, tmp_path / "server") as server:
        server.credentials = USER, FIRST
        office.settings |= {
            "SOURCE_URL": f"{server.url.replace('://', f'://{USER}@')}/bare.git",
            "SOURCE_TOKEN_FILE": str(secret(tmp_path / "token", FIRST)),
            "CA_FILE": str(server.ca_file),
        }
        yield server


def secret(path: Path, text: str) -> Path:
    """Write a file that only its owner may read."""
    path.touch(stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(text + "\n")
    return path


@pytest.mark.sandbox(delay="100ms")
def test_a_token_is_read_at_each_fetch_and_is_nowhere_else(
    office: Office, source: Repository, server: HttpsServer, commands: Commands
) -> None:
    """[I6] The server gets a new token, then the agent. No token is in a log, an argument, an address or the state."""
    office.upload("anna")
    with office.running():
        done(office, "anna")
        kept = source.head()
        office.acts_on(kept)
        server.credentials = USER, SECOND
        office.upload("bert")
        source.publish()
        shows(office, failure="authentication", revision=kept)
        assert office.run("doctor") == 1
        secret(office.folder / "token", SECOND)
        done(office, "anna", "bert")
        shows(office, failure=None)
    assert office.run("config", "view") == 0
    kept_bytes = office.state_bytes()
    for token in (FIRST, SECOND):
        assert token not in office.output
        assert token not in "\n".join(commands.lines())
        assert token.encode() not in kept_bytes


@pytest.mark.sandbox(delay="100ms")
def test_a_server_that_is_away_moved_or_not_trusted_changes_nothing(
    office: Office, source: Repository, server: HttpsServer, tmp_path: Path
) -> None:
    """[I1] Each has its cause, the last revision stays, the token goes to no other server, and the agent continues."""
    office.upload("anna")
    with https_server(tmp_path, tmp_path / "other") as other:
        with office.running():
            done(office, "anna")
            kept = source.head()
            office.acts_on(kept)
            office.upload("bert")
            source.publish()
            server.cut_after = 0
        with office.running():  # the server is away at the start as well
            shows(office, failure="network", revision=kept)
            server.cut_after, server.location, server.answer = None, f"{other.url}/bare.git/info/refs", 301
            shows(office, failure="moved", revision=kept)
            assert "bert" not in office.seen()
            server.answer = None
            done(office, "anna", "bert")
            shows(office, failure=None)
        assert other.authorizations == []
        kept = source.head()
        office.settings["CA_FILE"] = str(other.ca_file)
        with office.running():
            shows(office, failure="tls", revision=kept)
    assert office.left_behind() == []


@needs_sshd
@pytest.mark.sandbox(delay="100ms")
def test_ssh_needs_the_known_key_of_the_server(office: Office, source: Repository, tmp_path: Path) -> None:
    """A server with another key is not asked for anything, and the agent continues with the right key."""
    with ssh_server(tmp_path / "ssh") as server:
        known = server.known_hosts_file.read_text()
        other = make_ssh_key(tmp_path / "other").with_suffix(".pub").read_text()
        office.settings |= {
            "SOURCE_URL": server.url(SimpleNamespace(folder=source.bare)),
            "SOURCE_SSH_KEY_FILE": str(server.key_file),
            "SOURCE_KNOWN_HOSTS_FILE": str(server.known_hosts_file),
        }
        office.upload("anna")
        with office.running():
            done(office, "anna")
            office.acts_on(kept := source.head())
            server.known_hosts_file.write_text(f"{known.split()[0]} {other}")
            office.upload("bert")
            source.publish()
            shows(office, failure="host-key", revision=kept)
            server.known_hosts_file.write_text(known)
            done(office, "anna", "bert")
