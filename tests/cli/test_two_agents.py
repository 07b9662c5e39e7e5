"""A second agent on one store is refused, for every path of the state file [I7] (issue 14, point 3)."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import SandboxServer
from tests.cli.command_runner import COMMAND, FREE_PORT, CommandResult, Here, finish, spawn
from tests.support.timeouts import PATIENT, eventually

ONCE = ("run", "--once", *FREE_PORT)


@pytest.fixture
def first(here: Here, remote: SandboxServer) -> Iterator["subprocess.Popen[str]"]:
    """A running agent on the store of `here`."""
    here.env |= {"BASE_URL": remote.url}
    process = spawn(here.folder, "run", *FREE_PORT, **here.env)
    lock = here.folder / "state/agent.db.lock"
    try:
        eventually(lambda: (here.folder / "state/agent.db.sock").exists() and lock.read_text().strip())
        yield process
    finally:
        assert finish(process, signal.SIGTERM).code == 0


def other_folder(here: Here) -> Path:
    """Another state folder, with a copy of the key."""
    other = here.folder / "other"
    other.mkdir(mode=0o700)
    shutil.copy(here.folder / "state/agent.key", other)
    return other


def unshared(here: Here, script: str) -> CommandResult:
    """A shell in separate mount and pid namespaces, with the agent's settings."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    if os.geteuid() or not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("namespaces need unshare and its rights")
    env = {"PATH": os.environ["PATH"]} | {f"ASSURE_AGENT_{name}": value for name, value in here.env.items()}
    done = subprocess.run(
        [*unshare, "sh", "-c", script],
        cwd=here.folder,
        env=env,
        text=True,
        capture_output=True,
        timeout=PATIENT,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("link", ["state/agent.db", "other/further.db"])
def test_a_symbolic_link_uses_the_key_and_lock_of_its_target(
    here: Here, first: "subprocess.Popen[str]", link: str
) -> None:
    other = other_folder(here)
    (other / "further.db").symlink_to(here.folder / "state/agent.db")
    (other / "agent.db").symlink_to(here.folder / link)
    url = f"sqlite:///{other / 'agent.db'}"
    here(*ONCE, STATE_URL=url).is_one_clear_error(f"pid {first.pid}", f"kill {first.pid}")
    assert "the agent is paused" in here("pause", STATE_URL=url).out.lower() or here("resume").code == 0
    here("resume")
    assert {path.name for path in other.iterdir()} == {"agent.db", "further.db", "agent.key"}


def test_a_hard_link_of_a_used_state_file_is_refused(here: Here, first: "subprocess.Popen[str]") -> None:
    other = other_folder(here)
    os.link(here.folder / "state/agent.db", other / "agent.db")
    here(*ONCE, STATE_URL=f"sqlite:///{other / 'agent.db'}").is_one_clear_error("hard link", "samefile")
    assert first.poll() is None


def test_a_hard_link_is_refused_without_another_agent_as_well(here: Here, remote: SandboxServer) -> None:
    here.env |= {"BASE_URL": remote.url}
    assert here(*ONCE).code == 0
    second = here.folder / "kept.db"
    os.link(here.folder / "state/agent.db", second)
    here(*ONCE).is_one_clear_error("2 names", "samefile")
    here("pause").is_one_clear_error("2 names", "samefile")
    second.unlink()
    assert here(*ONCE).code == 0


def test_a_loop_of_links_is_one_clear_error(here: Here, remote: SandboxServer) -> None:
    (here.folder / "state").mkdir()
    (here.folder / "state/agent.db").symlink_to("agent.db")
    here(*ONCE, BASE_URL=remote.url).is_one_clear_error("agent.db", "Try")


def test_a_link_to_a_missing_file_creates_the_store_at_its_target(here: Here, remote: SandboxServer) -> None:
    (here.folder / "state").mkdir()
    (here.folder / "state/agent.db").symlink_to(here.folder / "disk/agent.db")
    assert here(*ONCE, BASE_URL=remote.url).code == 0
    assert {"agent.db", "agent.key", "agent.mark"} <= {path.name for path in (here.folder / "disk").iterdir()}
    assert [path.name for path in (here.folder / "state").iterdir()] == ["agent.db"]


def test_restore_through_a_link_replaces_the_file_and_keeps_the_link(here: Here, remote: SandboxServer) -> None:
    here.env |= {"BASE_URL": remote.url}
    assert here(*ONCE).code == 0
    link = here.folder / "link.db"
    link.symlink_to(here.folder / "state/agent.db")
    url = f"sqlite:///{link}"
    assert here("backup", "kept.db", STATE_URL=url).code == 0
    assert here("restore", "--yes", "kept.db", STATE_URL=url).code == 0
    assert link.is_symlink()
    assert list((here.folder / "state").glob("replaced-*.db"))
    assert here(*ONCE, STATE_URL=url).code in (0, 3)


def test_a_bind_mount_of_the_file_alone_is_the_same_store(here: Here, first: "subprocess.Popen[str]") -> None:
    other = other_folder(here)
    (other / "agent.db").touch()
    command = shlex.join((*COMMAND, *ONCE))
    script = f"mount --bind state/agent.db other/agent.db && ASSURE_AGENT_STATE_URL=sqlite:///other/agent.db {command}"
    unshared(here, script).is_one_clear_error("under another name", "container")
    assert first.poll() is None


def test_a_pid_of_another_namespace_is_not_suggested_for_kill(here: Here, first: "subprocess.Popen[str]") -> None:
    said = unshared(here, shlex.join((*COMMAND, *ONCE)))
    said.is_one_clear_error(f"pid {first.pid}", "in that container or on that host")
    assert "kill" not in said.err
