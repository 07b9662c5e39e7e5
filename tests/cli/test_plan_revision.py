"""`plan` with a git source: the head of the branch or a named commit, judged as the agent does, without a change."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.assure.account import account_of
from agent.core.source_revision import Revision
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.revisions.git_source import GitSource
from agent.source.revisions.planned import planned_source
from agent.store.sqlite.store import SqliteStore
from tests.cli.command_runner import CommandResult, Here, on_world
from tests.support.bare_repository import BareRepository
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.git import commit, git, repository
from tests.support.git_servers import make_ssh_key
from tests.support.timeouts import PATIENT, eventually
from verification.builders.request_files import capture, write
from verification.processes import COMMAND

__all__ = ["begin", "world"]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary folders are in a folder of the test, and none of them is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


@pytest.fixture
def clone(tmp_path: Path, here: Here) -> Path:
    """A clone of the repository SOURCE_URL, which has one request in the folder `specs`."""
    clone = repository(tmp_path / "git")
    git(tmp_path / "git/remote.git", "config", "uploadpack.allowFilter", "true")
    git(tmp_path / "git/remote.git", "config", "uploadpack.allowAnySHA1InWant", "true")
    write(clone / "specs/a.yaml", capture("a"))
    write(clone / "README", "not a request")
    commit(clone)
    here.env |= {"SOURCE_URL": f"file://{tmp_path}/git/remote.git", "SOURCE_PATH": "specs"}
    return clone


async def acted_on(world: World, revision: str, approved: str | None = None) -> None:
    """Let the store have a revision that the agent acts on."""
    store = SqliteStore(world.state, account_of(world.settings()))
    await store.record_scan("default", 100.0, 1, True, 0, None, revision=Revision(commit=revision, committed_at=90.0))
    if approved is not None:
        await store.remember(MetaKey.REVISION_APPROVED, approved)
    store.close()


def force_push(clone: Path) -> str:
    """Replace the branch by a commit without history; the commit."""
    git(clone, "checkout", "-q", "--orphan", "other")
    git(clone, "commit", "-q", "-m", "another history")
    git(clone, "push", "-q", "--force", "origin", "other:main")
    return git(clone, "rev-parse", "HEAD")


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file below a folder, without the index that SQLite keeps for readers."""
    found = {str(path): path.lstat() for path in folder.rglob("*") if path.suffix != ".db-shm" and not path.is_dir()}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def changes(said: CommandResult) -> list[tuple[str | None, str]]:
    return [(change["name"], change["action"]) for change in said.json["changes"]]


def test_the_head_of_the_branch_without_a_store(here: Here, clone: Path) -> None:
    head = git(clone, "rev-parse", "HEAD")
    said = here("plan", "-o", "json")
    assert (said.code, changes(said)) == (2, [("a", "create")])
    assert said.json["changes"][0]["file"] == "a.yaml"
    assert said.json["revision"] == {"commit": head, "branch": "main", "refusal": None}
    assert not (here.folder / "state").exists()
    assert f"Revision {head[:12]}, the head of branch main. 1 create." in here("plan").out
    assert f"Revision {head[:12]}, the head of branch main.  \n1 create.  \n" in here("plan", "-o", "markdown").out


def test_the_commit_of_a_merge_request_with_options_alone(here: Here, clone: Path) -> None:
    git(clone, "checkout", "-q", "-b", "request")
    write(clone / "specs/b.yaml", capture("b"))
    write(clone / "specs/c.yaml", capture("c").replace("document", "dokument"))
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "two requests")
    git(clone, "push", "-q", "origin", "request")
    proposed = git(clone, "rev-parse", "HEAD")
    url, path = here.env.pop("SOURCE_URL"), here.env.pop("SOURCE_PATH")
    options = ("--source-url", url, "--path", path)
    said = here("plan", *options, "--revision", proposed, "-o", "json", SPECS_DIR="specs")
    assert (said.code, changes(said)) == (5, [("a", "create"), ("b", "create"), ("c", "refuse")])
    assert said.json["revision"] == {"commit": proposed, "branch": None, "refusal": None}
    said = here("plan", *options, "--branch", "request", "-o", "json")
    assert said.json["revision"] == {"commit": proposed, "branch": "request", "refusal": None}
    assert changes(here("plan", *options, "-o", "json")) == [("a", "create")]


async def test_a_branch_without_the_revision_that_the_agent_acts_on(
    world: World, here: Here, clone: Path, begin: object
) -> None:
    """[I7] An approval is for one commit."""
    world.upload("x")
    await world.settle()
    first = git(clone, "rev-parse", "HEAD")
    await acted_on(world, first)
    on_world(here, world)
    write(clone / "specs/b.yaml", capture("b"))
    second = commit(clone)
    said = await asyncio.to_thread(here, "plan", "-o", "json")
    assert (said.code, said.json["revision"]["refusal"]) == (2, None)
    head = force_push(clone)
    before = tree(world.state.parent)
    said = await asyncio.to_thread(here, "plan", "-o", "json")
    assert tree(world.state.parent) == before
    assert said.code == 5
    refusal = said.json["revision"]["refusal"]
    assert (refusal["reason"], refusal["commit"]) == ("not-descended", head)
    assert "approve" in refusal["hint"]
    assert changes(said) == [("a", "create"), ("b", "create"), ("x", "nothing")]
    said = await asyncio.to_thread(here, "plan")
    assert f"The agent does not act on revision {head[:12]}, because it does not descend from the rev" in said.out
    said = await asyncio.to_thread(here, "plan", "--revision", second, "-o", "json")
    assert (said.code, said.json["revision"]["refusal"]) == (2, None)
    said = await asyncio.to_thread(here, "plan", "--revision", head)
    assert "Try: rebase the commit onto the branch" in said.out
    await acted_on(world, first, approved=second)
    assert (await asyncio.to_thread(here, "plan")).code == 5
    await acted_on(world, first, approved=head)
    assert (await asyncio.to_thread(here, "plan")).code == 2


def test_signatures(here: Here, clone: Path, tmp_path: Path) -> None:
    key = make_ssh_key(tmp_path / "key")
    write(here.folder / "signers", f"alice@example.com {key.with_suffix('.pub').read_text()}").chmod(0o600)
    unsigned = git(clone, "rev-parse", "HEAD")
    here.env["SOURCE_ALLOWED_SIGNERS_FILE"] = str(here.folder / "signers")
    said = here("plan", "-o", "json", SOURCE_VERIFY="head")
    assert said.code == 5
    assert said.json["revision"]["refusal"]["reason"] == "unsigned"
    assert said.json["revision"]["refusal"]["commit"] == unsigned
    assert changes(said) == [("a", "create")]
    said = here("plan", "-o", "json", SOURCE_VERIFY="each")
    assert (said.code, changes(said)) == (5, [("a", "refuse")])
    assert said.json["revision"]["refusal"] is None  # a first revision: each document counts for itself
    write(clone / "specs/b.yaml", capture("b"))
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key)), ("commit.gpgSign", "true")):
        git(clone, "config", name, value)
    commit(clone)
    said = here("plan", "-o", "json", SOURCE_VERIFY="head")
    assert (said.code, said.json["revision"]["refusal"]) == (2, None)
    said = here("plan", "-o", "json", SOURCE_VERIFY="each")
    assert changes(said) == [("a", "refuse"), ("b", "create")]
    assert "alice" not in said.out


def test_mistakes(here: Here, clone: Path, tmp_path: Path) -> None:
    here("plan", "--revision", "abc123").is_one_clear_error("--revision needs all 40 or 64 digits", code=2)
    here("plan", "--revision", "b" * 40).is_one_clear_error(
        f"The server does not send the commit {'b' * 40}", "--branch"
    )
    here("plan", "--revision", "HEAD").is_one_clear_error("--revision needs all 40 or 64 digits", code=2)
    here("plan", "--specs", "specs").is_one_clear_error("SPECS_DIR (or --specs) is set, and SOURCE_URL as well")
    here("plan", "--branch", "gone").is_one_clear_error("The repository does not have the branch")
    here("plan", "--path", "gone").is_one_clear_error("The branch does not have the folder of the request files")
    here("plan", "--path", "../x").is_one_clear_error("SOURCE_PATH: expected a path below", "on the command line")
    here("plan", "--source-url", "ext::sh").is_one_clear_error("SOURCE_URL: expected a URL", "on the command line")
    here("plan", "--source-url", f"file://{tmp_path}/none").is_one_clear_error("repository")
    here.env.pop("SOURCE_URL")
    here.env.pop("SOURCE_PATH")
    here("plan", "--revision", "a" * 40).is_one_clear_error("--revision needs a repository", "--source-url", code=2)
    here("plan", "--branch", "main2").is_one_clear_error("SOURCE_BRANCH needs SOURCE_URL")


def test_the_objects_of_the_agents_mirror_are_borrowed_and_it_stays_as_it_is(clone: Path, here: Here) -> None:
    for number in range(50):
        write(clone / f"specs/more-{number}.yaml", capture(f"more-{number}"))
    commit(clone)
    state = here.folder / "state"
    settings = Settings(source_url=here.env["SOURCE_URL"], source_path="specs", state_url=f"sqlite:///{state}/agent.db")
    source = GitSource.of(settings)
    refreshed = source.refresh(None, None)
    assert refreshed.published, refreshed
    write(clone / "specs/b.yaml", capture("b"))
    head = commit(clone)
    before = tree(state)
    with planned_source(settings, None, refreshed.head, None) as planned:
        assert (planned.commit, planned.refusal) == (head, None)
        assert "b" in planned.scan().documents
        objects = [one for pack in Path(tempfile.gettempdir()).rglob("*.idx") for one in indexed(pack)]
    assert 0 < len(objects) < 10  # a commit, two trees and a file; not the fifty others
    assert tree(state) == before


def indexed(pack: Path) -> list[str]:
    """The objects of a pack."""
    with pack.open("rb") as index:
        done = subprocess.run(["git", "show-index"], stdin=index, capture_output=True, check=True)
    return done.stdout.decode().splitlines()


def test_diff_compares_the_revision_that_the_agent_read_last(here: Here, clone: Path) -> None:
    here("diff").is_one_clear_error("The agent has not fetched a revision of ASSURE_AGENT_SOURCE_URL yet")
    settings = Settings(
        source_url=here.env["SOURCE_URL"],
        source_path="specs",
        state_url=f"sqlite:///{here.folder}/state/agent.db",
    )
    GitSource.of(settings).refresh(None, None)
    write(clone / "specs/b.yaml", capture("b"))
    commit(clone)
    said = here("diff", "-o", "json")
    assert (said.code, [item["name"] for item in said.json["items"]]) == (2, ["a"])
    assert str(settings.requests_dir.readlink()) == git(clone, "rev-parse", "HEAD~1")


@pytest.mark.parametrize("other", ["damaged", "sha256"])
def test_a_mirror_that_cannot_be_borrowed_from_is_ignored(here: Here, clone: Path, tmp_path: Path, other: str) -> None:
    settings = Settings(
        source_url=here.env["SOURCE_URL"], source_path="specs", state_url=f"sqlite:///{here.folder}/state/agent.db"
    )
    assert GitSource.of(settings).refresh(None, None).published
    if other == "sha256":
        bare = BareRepository(tmp_path / "sha256.git", form="sha256")
        bare.commit({"specs/a.yaml": capture("a")})
        here.env["SOURCE_URL"] = bare.url
    else:
        for pack in settings.source_folder.rglob("*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(pack.read_bytes()[:40] + b"x" * 100)
    said = here("plan", "-o", "json")
    assert (said.code, changes(said)) == (2, [("a", "create")]), said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_fetch_and_removes_the_temporary_folder(
    here: Here, clone: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A pipeline that is cancelled sends SIGTERM."""
    program, fetching = tmp_path / "programs/git", tmp_path / "fetching"
    os.mkfifo(fetching)
    program.parent.mkdir()
    hangs = f'echo "$$" > {fetching}; exec sleep 100000'
    program.write_text(f'#!/bin/sh\ncase " $* " in *" fetch "*) {hangs};; esac\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSURE_AGENT_")}
    environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(tempfile.gettempdir())}
    command = [*COMMAND, "plan", "--source-url", here.env["SOURCE_URL"], "--path", "specs"]

    def unignored() -> None:
        """A run under `nohup`, or in the background, ignores some of these signals, and so would the agent."""
        signal.signal(number, signal.SIG_DFL)

    with subprocess.Popen(
        command, cwd=here.folder, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=unignored
    ) as process:
        git_process = int(fetching.read_text())
        eventually(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1)  # the agent watches git
        process.send_signal(number)
        said = process.communicate(timeout=PATIENT)[1]
    assert (process.returncode, said) == (128 + number, "")
    eventually(lambda: not alive(git_process))


def alive(process: int) -> bool:
    """True if the process runs: one that ended and was not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
