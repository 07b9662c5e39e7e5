"""The installed command with a git source in which everything is planted that git could run, follow or choke on.

The settings and programs are those of `test_planted_git_config`. The canary is the file that each of them writes.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.fetching import done, shows
from tests.acceptance.installed_command import Office
from tests.acceptance.sources import Repository
from tests.acceptance.test_planted_git_config import ATTRIBUTES, HOOKS, Ground
from tests.support.git import git
from verification.builders.request_files import write

pytestmark = pytest.mark.git_source

VARIABLES = (
    "GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_EDITOR",
    "GIT_PAGER", "GIT_SEQUENCE_EDITOR", "PAGER", "EDITOR",
)  # fmt: skip


@pytest.fixture
def ground(tmp_path: Path, source: Repository) -> Ground:
    return Ground(tmp_path, source.desk)


def surround(ground: Ground, source: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant what a user of the machine or the owner of the server could: settings, variables, hooks."""
    home = ground.folder / "home"
    ground.plant(write(home / ".gitconfig", ""))
    ground.plant(source.bare / "config")
    write(home / ".config/git/attributes", ATTRIBUTES)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(home / "template"))
    for hook in HOOKS:
        write(home / "template/hooks" / hook, Path(ground.program(f"hook-{hook}")).read_text()).chmod(0o755)
    for name in VARIABLES:
        monkeypatch.setenv(name, ground.program(name))
    settings = {"core.fsmonitor": ground.program("count"), "core.hooksPath": str(home / "template/hooks")}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)


def fill(ground: Ground, source: Repository, secret: Path) -> None:
    """Commit what an author could, next to one good request."""
    desk, specs = source.desk, source.specs
    for folder in (desk, specs):
        write(folder / ".gitattributes", ATTRIBUTES)
        write(folder / ".lfsconfig", f"[lfs]\n\turl = ext::{ground.program('lfs')}\n")
        for name in ("config", "HEAD", "objects/info/alternates"):  # the files of a repository
            write(folder / name, f"[core]\n\tfsmonitor = {ground.program('bare')}\n")
        for hook in HOOKS:
            write(folder / "hooks" / hook, Path(ground.program(f"hook-{hook}")).read_text()).chmod(0o755)
    write(
        desk / ".gitmodules",
        f'[submodule "x"]\n\tpath = specs/x\n\turl = ext::{ground.program("sub")}\n\tupdate = none\n',
    )
    (specs / "out.yaml").symlink_to(secret)
    (specs / "away").symlink_to(secret.parent)
    (specs / "up.yaml").symlink_to("../README")
    write(specs / "line\nbreak.yaml", "kind: x\n")
    write(specs / "-upload-pack=x.yaml", "kind: x\n")
    with (specs / "huge.yaml").open("wb") as file:
        file.truncate(64 << 20)
    git(desk, "add", "-A")
    git(desk, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},specs/x")
    git(desk, "commit", "-q", "-m", "Hostile")


@pytest.mark.sandbox(delay="100ms")
def test_nothing_of_a_hostile_repository_runs_or_is_followed(
    office: Office, source: Repository, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I9] The good request is verified, and the others are refused one by one. No canary, no file of the outside."""
    secret = write(office.folder / "outside/secret.yaml", "a: the-content-of-another-file\n")
    office.upload("anna")
    fill(ground, source, secret)
    source.push()
    monkeypatch.setattr(source, "publish", lambda: None)  # a push would run the hooks of the next line
    surround(ground, source, monkeypatch)
    (ground.folder / "ran").unlink(missing_ok=True)
    with office.running():
        done(office, "anna")
        office.acts_on(source.head())
        refused = {one["file"] for one in office.json("get")["refused"]}
        assert {"out.yaml", "huge.yaml", r"line\nbreak.yaml"} <= refused
        kept = source.head()
        for path in (b".git/hooks/post-checkout", b"../../escaped.yaml", b"..", b"."):
            source.replace_head(with_entry(source.bare, kept, path))
            shows(office, failure="damaged", revision=kept)
            source.replace_head(kept)
            shows(office, failure=None, revision=kept)
    assert ground.ran == ""
    exported = office.stored.local_path.with_suffix(".source")
    assert not list(office.folder.rglob("escaped.yaml"))
    assert sum(path.lstat().st_blocks * 512 for path in exported.rglob("*.yaml")) < 1 << 20
    assert "the-content-of-another-file" not in office.output
    assert office.run("doctor", "--offline") in (0, 1)
    assert office.run("plan") == 5  # files are refused
    assert ground.ran == ""


def with_entry(bare: Path, parent: str, path: bytes) -> str:
    """A commit on top of the parent, whose folder `specs` has an entry with this name, which no `git add` accepts."""
    environment = {**os.environ, "GIT_DIR": str(bare), "GIT_CONFIG_COUNT": "0", "HOME": "/nonexistent"}

    def run(*arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run(["git", *arguments], input=given, env=environment, check=True, capture_output=True)
        return done.stdout

    def tree(entries: bytes) -> bytes:
        return run("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=entries).strip()

    blob = bytes.fromhex(run("hash-object", "-w", "--stdin", given=b"kind: x\n").strip().decode())
    specs = run("cat-file", "tree", f"{parent}:specs") + b"100644 " + path + b"\0" + blob
    whole = b"40000 specs\0" + bytes.fromhex(tree(specs).decode())
    return (
        run("-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree(whole).decode(), "-p", parent, "-m", "x")
        .decode()
        .strip()
    )
