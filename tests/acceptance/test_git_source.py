"""The installed command with a git repository as its source: pushes, hooks, force pushes, failures, kills."""

import hmac
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from grafana.prometheus_server import free_port
from tests.acceptance.fetching import Commands, done, shows, started
from tests.acceptance.installed_command import NEVER, Office
from tests.acceptance.sources import Repository
from tests.support.git import git
from tests.support.timeouts import PATIENT, eventually

pytestmark = pytest.mark.git_source

SECRET = "a-secret-of-the-hook-of-this-test"


def post(office: Office, body: bytes, **headers: str) -> int:
    """The status of a hook with these headers; `_` is a hyphen."""
    url = f"http://{office.settings['EVENTS_LISTEN']}/hooks/source"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, given), timeout=PATIENT) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.sandbox(delay="100ms")
def test_three_pushed_files_are_verified_and_then_each_interval_costs_one_command(
    office: Office, source: Repository, commands: Commands
) -> None:
    """[I2, I3] One start each. Without a new commit, the agent reads the branch and scans nothing."""
    with office.running():
        for name in ("anna", "bert", "cleo"):
            office.upload(name)
        source.publish()
        done(office, "anna", "bert", "cleo")
        office.acts_on(source.head())
        polls = commands.polls()
        eventually(lambda: commands.polls() > polls + 2)  # what followed the scan is over
        scanned, seen = office.scanned_at(), len(commands.lines())
        eventually(lambda: len(commands.lines()) > seen + 4)
        assert office.scanned_at() == scanned
        assert all("ls-remote" in line for line in commands.lines()[seen:])
    assert started(office) == 3
    assert office.left_behind() == []


@pytest.mark.sandbox(delay="100ms")
def test_hooks_make_the_agent_fetch_and_forged_ones_do_not(
    office: Office, source: Repository, commands: Commands
) -> None:
    """The interval is an hour. Each form of a hook brings the commit that was pushed before it."""
    office.settings |= {
        "SOURCE_INTERVAL": "1h",
        "EVENTS_LISTEN": f"127.0.0.1:{free_port()}",
        "SOURCE_HOOK_SECRET": f"the-next-secret-of-the-hook,{SECRET}",
    }
    body = b'{"ref": "refs/heads/main"}'
    mac = hmac.digest(SECRET.encode(), body, "sha256").hex()
    forms = (
        {"X_Hub_Signature_256": f"sha256={mac}"},
        {"X_Gitea_Signature": mac},
        {"X_Gitlab_Token": SECRET},
        {"X_Signature": f"sha256={mac}"},
    )
    with office.running():
        office.acts_on(source.head())
        for number, form in enumerate(forms):
            office.upload(f"person-{number}")
            source.publish()
            polls = commands.polls()
            (header,) = form
            assert post(office, body) == 401
            assert (
                post(office, body + b" ", **{header: form[header].replace(mac, "0" * 64).replace("a-s", "b-s")}) == 401
            )
            assert commands.polls() == polls
            assert post(office, body, **form) == 202
            office.acts_on(source.head())
            assert commands.polls() == polls + 1
        done(office, *(f"person-{number}" for number in range(4)))
    assert started(office) == 4


@pytest.mark.sandbox(delay="100ms")
def test_a_force_push_waits_for_an_approval_of_its_commit(office: Office, source: Repository) -> None:
    """[I2] The last revision stays. An approval is for one commit; the next force push needs another one."""
    office.upload("anna")
    with office.running():
        source.publish()
        done(office, "anna")
        for name, present in (("bert", ("anna", "bert")), ("cleo", ("anna", "bert", "cleo"))):
            kept = source.head()
            office.acts_on(kept)
            office.upload(name)
            source.commit("--amend")
            source.push("--force")
            shows(office, refused=source.head(), refused_reason="not-descended", revision=kept)
            assert name not in office.seen()
            office.run("plan")
            assert f"revision {source.head()[:12]}" in office.output
            assert office.run("approve", "--yes") == 0
            office.acts_on(source.head())
            shows(office, refused=None)
            done(office, *present)
    assert started(office) == 3
    assert office.run("audit", "verify") == 0


@pytest.mark.sandbox(delay="600s")
def test_a_revert_withdraws_under_the_guard_and_a_larger_one_waits(office: Office, source: Repository) -> None:
    """[I3] The revert of one file withdraws it. The removal of five of the others waits for `approve`."""
    for number in range(10):
        office.upload(f"person-{number}")
    with office.running():
        source.publish()
        eventually(lambda: sum(item["phase"] == "result" for item in office.seen().values()) == 10)
        office.upload("anna")
        source.publish()
        eventually(lambda: office.seen().get("anna", {}).get("phase") == "result")
        git(source.desk, "revert", "--no-edit", "HEAD")
        source.push()
        eventually(lambda: office.seen()["anna"]["outcome"] == "withdrawn", lambda: office.seen()["anna"])
        for number in range(5):
            (source.specs / f"person-{number}.yaml").unlink()
        source.publish()
        office.scans()
        assert [name for name, item in office.seen().items() if item["outcome"]] == ["anna"]
        assert office.run("approve", "--yes") == 0
        eventually(lambda: sum(item["outcome"] == "withdrawn" for item in office.seen().values()) == 6, office.seen)
        eventually(lambda: len(office.left_behind()) == 5)


@pytest.mark.sandbox(delay="600s")
def test_a_missing_branch_folder_or_repository_withdraws_nothing(office: Office, source: Repository) -> None:
    """[I1] Each is reported by its cause, the last revision stays, and the agent continues once it is back."""
    elsewhere = source.bare.with_name("elsewhere.git")
    git(source.bare, "config", "receive.denyDeleteCurrent", "ignore")

    def without_folder() -> None:
        git(source.desk, "mv", "specs", "moved")
        source.commit()
        source.push()

    def with_folder() -> None:
        git(source.desk, "revert", "--no-edit", "HEAD")
        source.push()

    troubles: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "no-branch": (lambda: git(source.desk, "push", "-q", "origin", ":main"), source.push),
        "no-path": (without_folder, with_folder),
        "not-found": (lambda: source.bare.rename(elsewhere), lambda: elsewhere.rename(source.bare)),
    }
    for number in range(5):
        office.upload(f"person-{number}")
    with office.running():
        source.publish()
        eventually(lambda: sum(item["phase"] == "result" for item in office.seen().values()) == 5)
        for cause, (begin, end) in troubles.items():
            office.acts_on(kept := source.head())
            begin()
            shows(office, failure=cause, revision=kept)
            end()
            shows(office, failure=None)
        office.acts_on(source.head())
        office.scans()
        assert [item["outcome"] for item in office.seen().values()] == [None] * 5
    assert started(office) == 5


@pytest.mark.sandbox(delay="100ms")
def test_a_start_without_the_server_continues_with_the_last_revision(office: Office, source: Repository) -> None:
    """[I1, I2] Also when the mirror was removed: the lineage is in the store, not in the cache."""
    office.settings["POLL_INTERVAL"] = NEVER
    office.upload("anna")
    with office.running():
        source.publish()
        eventually(lambda: office.seen().get("anna", {}).get("phase") == "result")
        office.acts_on(source.head())
    del office.settings["POLL_INTERVAL"]
    source.bare.rename(elsewhere := source.bare.with_name("elsewhere.git"))
    with office.running():
        shows(office, failure="not-found", revision=source.head())
        done(office, "anna")
        elsewhere.rename(source.bare)
        office.upload("bert")
        source.publish()
        done(office, "anna", "bert")
    git(source.desk, "commit", "-q", "--amend", "-m", "Another history")
    source.push("--force")
    for path in sorted(office.stored.local_path.with_suffix(".source").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with office.running():
        shows(office, refused=source.head(), refused_reason="not-descended")
    assert started(office) == 2


@pytest.mark.sandbox(delay="100ms")
def test_a_kill_during_a_fetch_leaves_nothing_behind(office: Office, source: Repository, commands: Commands) -> None:
    """[I1, I2] The git of the killed agent is ended by the next start, which fetches the same commit."""
    office.upload("anna")
    with office.running() as process:
        source.publish()
        done(office, "anna")
        commands.hang.touch()
        office.upload("bert")
        source.publish()
        eventually(lambda: any(" fetch " in f"{line} " for line in commands.lines()[-1:]))
        orphan = int(commands.lines()[-1].split()[0])
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENT)
    assert Path(f"/proc/{orphan}").exists()
    commands.hang.unlink()
    with office.running():
        done(office, "anna", "bert")
        eventually(lambda: not is_alive(orphan))
    assert started(office) == 2
    assert office.left_behind() == []
    assert office.run("audit", "verify") == 0


def is_alive(pid: int) -> bool:
    """True if the process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
