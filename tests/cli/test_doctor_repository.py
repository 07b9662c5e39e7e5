"""`doctor` with a git source: programs, files of keys, the server, the revision, and the mirror."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from agent.assure.account import account_of
from agent.cli.checks import State
from agent.cli.checks.repository import git_version
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal
from agent.store.sqlite.store import SqliteStore
from tests.cli.command_runner import CommandResult, Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.git import commit, repository
from verification.builders.request_files import capture, write

__all__ = ["begin", "world"]

SIGNER = "anna@example.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMJ8vCMaGmgzlJoYYzCmYRFKJt6CtpRDuTFL8tGlI9Xa"
HTTPS = "https://git.example/team/requests.git"


def named(said: CommandResult, name: str) -> list[tuple[str, str]]:
    """State and message of each check of this name."""
    return [(one["state"], one["message"]) for one in said.json["checks"] if one["check"] == name]


def script(folder: Path, name: str, text: str) -> Path:
    """A program with this text in a folder; the folder."""
    path = write(folder / name, f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("printed", "state", "part"),
    [
        ("git version 2.39.5 (Apple Git-154)", State.OK, "git 2.39.5 is installed"),
        ("git version 2.34.0", State.OK, "git 2.34.0 is installed"),
        ("git version 2.33.9", State.PROBLEM, "git 2.34 or newer is needed, found: git version 2.33.9"),
        ("git version 2.9.1", State.PROBLEM, "git 2.34 or newer is needed, found: git version 2.9.1"),
        ("git version 3.0.0", State.OK, "git 3.0.0 is installed"),
        ("hello", State.PROBLEM, "git 2.34 or newer is needed, found: hello"),
    ],
)
def test_the_version_of_git(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    printed: str,
    state: State,
    part: str,
) -> None:
    monkeypatch.setenv("PATH", str(script(tmp_path, "git", f"echo '{printed}'")), prepend=":")
    found = git_version()
    assert (found.state, part in found.message) == (state, True), found


def test_a_program_in_a_relative_folder_of_the_path_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "git", f"touch {tmp_path}/started")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".", prepend=":")
    assert git_version().state is State.OK
    assert not (tmp_path / "started").exists()


def test_programs_that_are_missing(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("key", "hosts", "signers", "ring"):
        write(here.folder / name, "content").chmod(0o600)
    keys = {"SOURCE_SSH_KEY_FILE": "key", "SOURCE_KNOWN_HOSTS_FILE": "hosts", "SOURCE_VERIFY": "each"}
    signers = {"SOURCE_ALLOWED_SIGNERS_FILE": "signers", "SOURCE_GPG_KEYRING": "ring"}
    monkeypatch.setenv("PATH", str(script(tmp_path, "git", "echo git version 2.40.0")))
    said = here("doctor", "-o", "json", CLIENT_ID="", SOURCE_URL="git@git.example:r.git", **keys, **signers)
    for program, purpose in (("ssh", "an ssh"), ("ssh-keygen", "SOURCE_ALLOWED"), ("gpg", "SOURCE_GPG_KEYRING")):
        ((state, message),) = named(said, program)
        assert (state, message) == ("problem", message)
        assert f"the program {program} is missing: {purpose}" in message
    assert named(said, "git server") == []  # without the programs, it cannot be asked
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    ((state, message),) = named(here("doctor", "-o", "json", CLIENT_ID="", SOURCE_URL="file:///r"), "git")
    assert (state, message) == ("problem", "the program git is not in PATH")


@pytest.mark.parametrize(
    ("mode", "content", "state", "part"),
    [
        (0o600, "token\n", "ok", "this user can read token, and no other user can change them"),
        (0o622, "token\n", "problem", "ASSURE_AGENT_SOURCE_TOKEN_FILE: token has mode 0622: other users can change it"),
        (0o600, " \n", "problem", "ASSURE_AGENT_SOURCE_TOKEN_FILE: token is empty"),
        (None, "", "problem", "ASSURE_AGENT_SOURCE_TOKEN_FILE: token cannot be read: No such file"),
    ],
)
def test_the_file_of_the_token(here: Here, mode: int | None, content: str, state: str, part: str) -> None:
    """[I6]"""
    if mode is not None:
        write(here.folder / "token", content).chmod(mode)
    said = here("doctor", "--offline", "-o", "json", SOURCE_URL=HTTPS, SOURCE_TOKEN_FILE="token")
    (found,) = named(said, "source files")
    assert found[0] == state
    assert part in found[1]
    assert "token\n" not in said.out


@pytest.mark.parametrize(
    ("name", "content", "state", "part"),
    [
        ("signers", f"{SIGNER}\n", "ok", "the files of signers can be used"),
        ("signers", f"{SIGNER}\nbob\n", "warning", "line 2 of signers has no public key, so it allows no signer"),
        (
            "signers",
            f"# x\nbob\n{SIGNER}x\ncleo\n",
            "warning",
            "line 2 of signers has no public key",
        ),
        ("signers", "bob\ncleo\ndora\n", "warning", "; 2 other lines as well"),
        ("revoked", "garbage\n", "problem", "no signature can be checked: Line 1 of revoked is not a public key"),
        ("ring", "garbage\n", "problem", "no signature can be checked: ring contains no OpenPGP public key"),
    ],
)
def test_the_files_of_signers(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, state: str, part: str
) -> None:
    """A refusal as `unverified` refers to doctor for the cause."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    files = {"signers": f"{SIGNER}\n", "revoked": ""} | {name: content}
    for file, text in files.items():
        write(here.folder / file, text).chmod(0o600)
    given = {"SOURCE_ALLOWED_SIGNERS_FILE": "signers", "SOURCE_REVOKED_SIGNERS_FILE": "revoked"}
    given |= {"SOURCE_GPG_KEYRING": "ring"} if name == "ring" else {}
    said = here("doctor", "--offline", "-o", "json", SOURCE_URL=HTTPS, SOURCE_VERIFY="each", **given)
    ((found, message),) = named(said, "signers")
    assert (found, part in message) == (state, True), message
    assert not list((tmp_path / "temporary").iterdir())


def test_without_a_repository_nothing_of_it_is_checked(here: Here) -> None:
    said = here("doctor", "--offline", "-o", "json")
    checks = {one["check"] for one in said.json["checks"]}
    assert not checks & {"git", "git server", "revision", "mirror", "source files"}
    assert {"watches", "authors", "source, writers"} <= checks


def test_before_the_first_revision(here: Here) -> None:
    said = here("doctor", "--offline", "-o", "json", SOURCE_URL=HTTPS, SOURCE_HOOK_SECRET="0123456789abcdef")
    assert named(said, "git server") == [("ok", "not asked, because of --offline")]
    assert named(said, "revision") == [("ok", "the agent has not acted on a revision yet")]
    assert named(said, "source")[0][1].startswith("no revision is fetched yet")
    assert named(said, "mirror")[0][1].startswith(f"{here.folder}/state/agent.source does not exist yet")
    assert named(said, "port of EVENTS_LISTEN")
    assert not {"watches", "authors", "source, writers"} & {one["check"] for one in said.json["checks"]}
    assert not (here.folder / "state").exists()


async def test_the_revision_and_its_troubles(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    acted, refused = "a" * 40, "b" * 40
    store = SqliteStore(world.state, account_of(world.settings()))
    await store.record_scan("default", 100.0, 1, True, 0, None, None, Revision(commit=acted, committed_at=90.0))
    why = RefusedRevision(revision=refused, reason=RevisionRefusal.NOT_DESCENDED, commit=refused, since=200.0)
    await store.record_refresh("default", 200.0, True, why, None)
    await store.record_refresh("default", 300.0, False, None, FetchFailure.DNS)
    store.close()
    folder = world.state.with_suffix(".source")
    write(folder / "mirror.git/objects/pack/one.pack", b"x" * 3_000_000)
    write(folder / "1/a.yaml", capture("a"))
    (folder / "current").symlink_to("1")
    on_world(here, world).env["SOURCE_URL"] = HTTPS
    said = await asyncio.to_thread(here, "doctor", "--offline", "-o", "json")
    acts, failing, held = named(said, "revision")
    assert acts[0] == "ok"
    assert acts[1].startswith("the agent acts on aaaaaaaaaaaa since 1970-01-01T00:01:40.000Z")
    assert (failing[0], held[0]) == ("warning", "warning")
    assert "the name of the git server is unknown, since 1970-01-01T00:05:00.000Z" in failing[1]
    assert "does not act on revision bbbbbbbbbbbb" in held[1]
    assert f"{folder} has 2.9 MiB" in named(said, "mirror")[0][1]
    assert named(said, "source")[0][1].endswith("1 file, 1 request")


def test_the_server_names_the_head(here: Here, tmp_path: Path) -> None:
    clone = repository(tmp_path / "git")
    write(clone / "specs/a.yaml", capture("a"))
    head = commit(clone)
    url = f"file://{tmp_path}/git/remote.git"
    said = here("doctor", "-o", "json", CLIENT_ID="", SOURCE_URL=url)
    assert named(said, "git server") == [("ok", f"branch main of {url} is at {head[:12]}")]
    assert not (here.folder / "state").exists()
    ((state, message),) = named(
        here("doctor", "-o", "json", CLIENT_ID="", SOURCE_URL=url, SOURCE_BRANCH="gone"), "git server"
    )
    assert state == "problem"
    assert message.startswith("the repository does not have the branch")
    ((state, message),) = named(here("doctor", "-o", "json", CLIENT_ID="", SOURCE_URL=f"{url}2"), "git server")
    assert state == "problem"
    assert message.startswith("the git server has no such repository")
