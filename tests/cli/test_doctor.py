"""`doctor`: each check reports its problem, shows no secret, and changes nothing."""

import asyncio
import errno
import os
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.cli.checks import State, assure, files, images, machine, source, store
from agent.platform.settings import Settings, load_settings
from agent.sandbox import SandboxServer
from agent.store import running_agent
from agent.store.sqlite.connection import open_writer
from agent.store.sqlite.lock import FileLock, holder
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.git import commit, repository
from tests.support.git import git as run_git
from verification.builders.request_files import capture, write

__all__ = ["begin", "world"]


def states(said: object) -> dict[str, str]:
    return {check["check"]: check["state"] for check in said.json["checks"]}  # type: ignore[attr-defined]


async def test_a_correct_installation_passes_and_is_unchanged(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle(base_url=world.sandbox.url)
    world.state.parent.chmod(0o700)
    before = world.state.read_bytes()
    on_world(here, world).env |= {"SPECS_DIR": str(world.specs), "IMAGES_DIR": str(world.images)}
    said = await asyncio.to_thread(here, "doctor", "-o", "json")
    found = states(said)
    assert found.pop("clock")  # the sandbox may send a simulated time, or none
    assert found.pop("sqlite")  # depends on the machine
    assert set(found.values()) == {"ok"}, said.out
    checks = {check["check"]: check for check in said.json["checks"]}
    assert checks["agent"]["message"] == "no agent is running on the store"
    assert checks["account"]["message"].endswith(world.sandbox.url)
    assert checks["credentials"]["message"].startswith("Assure issues a token")
    assert world.state.read_bytes() == before


async def test_a_restored_copy_is_reported_before_the_next_run(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    for parts in (("backup", str(here.folder / "kept.db")), ("restore", "--yes", str(here.folder / "kept.db"))):
        assert (await asyncio.to_thread(here, *parts)).code == 0
    assert states(await asyncio.to_thread(here, "doctor", "--offline", "-o", "json"))["recovery"] == "warning"


async def test_the_lock_names_the_pid_of_the_running_agent(world: World, here: Here) -> None:
    async with world.running():
        assert holder(world.state) == os.getpid()
    assert holder(world.state) is None


def test_each_setting_is_listed_with_its_source_and_without_secrets(here: Here) -> None:
    """[I6]"""
    write(here.folder / "ours.env", "ASSURE_AGENT_SOURCE_NAME=office\n").chmod(0o600)
    write(here.folder / "ours.yaml", "poll_interval: 7s\n")
    files = ("--env-file", "ours.env", "--config-file=ours.yaml")
    said = here(*files, "doctor", "--offline", "--specs", "specs", "-o", "json", CLIENT_SECRET="hunter2")
    values = {value["name"].removeprefix("ASSURE_AGENT_"): value for value in said.json["settings"]}
    origins = {
        "SPECS_DIR": "flag",
        "CLIENT_ID": "environment",
        "SOURCE_NAME": ".env",
        "POLL_INTERVAL": "yaml",
        "LISTEN": "environment",
        "EVENTS_LISTEN": "default",
    }
    assert {name: values[name]["from"] for name in origins} == origins
    assert values["CLIENT_SECRET"]["value"] == "set"
    assert "hunter2" not in said.out + said.err
    assert "hunter2" not in here("doctor", "--offline", CLIENT_SECRET="hunter2").out
    (files_check,) = [check for check in said.json["checks"] if check["check"] == "settings files"]
    assert (files_check["state"], files_check["hint"]) == ("warning", "chmod 600 ours.yaml")


def test_the_source_of_a_secret_may_be_a_file(here: Here) -> None:
    write(here.folder / "secret", "hunter2")
    here.env = {"CLIENT_ID": "me", "CLIENT_SECRET_FILE": "secret"}
    said = here("doctor", "--offline", "-o", "json")
    (value,) = [value for value in said.json["settings"] if value["name"] == "ASSURE_AGENT_CLIENT_SECRET"]
    assert (value["value"], value["from"]) == ("set", "file")
    assert "hunter2" not in said.out


def test_a_wrong_setting_or_no_credentials_is_a_problem(here: Here) -> None:
    said = here("doctor", "-o", "json", POLL_INTERVAL="soon")
    assert (said.code, states(said)["settings"]) == (1, "problem")
    here.env.clear()
    said = here("doctor")
    assert said.code == 1
    assert ". Try: " in said.out


def test_the_credentials_are_tested(here: Here, remote: SandboxServer) -> None:
    said = here("doctor", "-o", "json", BASE_URL=remote.url)
    assert states(said)["credentials"] == "ok"
    said = here("doctor", "-o", "json", BASE_URL=remote.url, CLIENT_SECRET="wrong")
    assert (said.code, states(said)["credentials"]) == (1, "problem")
    said = here("doctor", "-o", "json", BASE_URL="http://127.0.0.1:9")
    assert (said.code, states(said)["credentials"]) == (1, "problem")


@pytest.mark.parametrize(
    ("theirs", "state"),
    [(1000.0, State.OK), (990.0, State.WARNING), (2000.0, State.PROBLEM), (None, State.WARNING)],
    ids=["equal", "10 s ahead", "1000 s behind", "no time"],
)
def test_the_clock_is_compared_with_assures(theirs: float | None, state: State) -> None:
    assert assure._clock(theirs, 1000.0).state is state


async def test_the_clock_is_read_from_the_answer(remote: SandboxServer) -> None:
    config = remote.config
    settings = load_settings(base_url=remote.url, client_id=config.client_id, client_secret=config.client_secret)
    found = {check.name: check for check in await assure.checks(settings, offline=False)}
    assert found["clock"].state is State.OK, found


def at(state: Path) -> Settings:
    return load_settings(state_url=f"sqlite:///{state}")


def test_permissions(folder: Path) -> None:
    state = folder / "state" / "agent.db"
    state.parent.mkdir(mode=0o700)
    write(state, b"").chmod(0o600)
    write(state.with_name("agent.key"), b"").chmod(0o600)
    assert {check.state for check in files.permissions(at(state))} == {State.OK}
    state.parent.chmod(0o755)
    state.chmod(0o640)
    found = {check.name: check for check in files.permissions(at(state))}
    assert found["state folder"].state is State.WARNING
    assert (found["state file"].state, found["state file"].hint) == (State.PROBLEM, f"chmod 600 {state}")
    state.parent.chmod(0o777)
    assert next(iter(files.permissions(at(state)))).state is State.PROBLEM


def test_the_modes_of_an_fs_group_volume_are_warnings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet sets the modes at each mount, and root owns the folder of a volume: chmod cannot help."""
    state = folder / "state" / "agent.db"
    write(state, b"").chmod(0o660)
    write(state.with_name("agent.key"), b"").chmod(0o660)
    state.parent.chmod(0o2770)
    group = state.parent.stat().st_gid
    found = {check.name: check for check in files.permissions(at(state))}
    names = ("state folder", "state file", "key file")
    assert {(found[name].state, found[name].hint) for name in names} == {
        (State.WARNING, f"give group {group} to no other pod or user")
    }
    owner = state.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(os, "getegid", lambda: group + 1)
    monkeypatch.setattr(os, "getgroups", list)
    strange = next(iter(files.permissions(at(state))))
    assert (strange.state, strange.hint.startswith(f"as the user with uid {owner}: chmod 700")) == (State.PROBLEM, True)
    state.parent.chmod(0o2700)
    assert next(iter(files.permissions(at(state)))).state is State.OK


def test_a_state_folder_of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.writable(folder).state is State.OK
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = files.writable(folder)
    assert (found.state, "chown" in found.hint) == (State.PROBLEM, True)


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [(0, 9, "problem"), (10**6, 0, "problem"), (5000, 9, "warning"), (10**6, 9, "ok")],
    ids=["no bytes", "no inodes", "few bytes", "enough"],
)
def test_a_state_folder_without_free_space_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, state: str
) -> None:
    """The state folder needs free bytes and free inodes."""
    found = SimpleNamespace(f_blocks=10**6, f_frsize=4096, f_bavail=free, f_files=100, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    said = files.writable(folder / "state")
    assert said.state == state
    assert "left" in said.message or "free" in said.message


def test_state_files_that_restore_replaced_are_reported(folder: Path) -> None:
    """[I6]"""
    state = folder / "state" / "agent.db"
    assert list(files.replaced_files(state)) == []
    write(state.with_name("replaced-20261101T000000.000000Z.db"), b"")
    (check,) = files.replaced_files(state)
    assert check.state is State.WARNING
    assert "replaced-20261101T000000.000000Z.db" in check.hint
    assert "`forget`" not in check.message  # it erases there as well


@pytest.mark.parametrize("local", ["agent.db", "agent"])
def test_state_files_that_became_a_database_are_reported(folder: Path, local: str) -> None:
    """[I6] `forget` does not erase in them, so their owner has to remove them."""
    state = folder / "state" / local
    for name in ("moved-20261101T000000.000000Z.db", "replaced-20261001T000000.000000Z.db"):
        write(state.with_name(name), b"")
    replaced, moved = files.replaced_files(state)
    assert (replaced.state, moved.state) == (State.WARNING, State.WARNING)
    assert ("`forget` does not erase there" in replaced.message) is (local == "agent")
    assert "`store copy` kept 1 moved state files" in moved.message
    assert "`forget` does not erase there" in moved.message
    assert "moved-20261101T000000.000000Z.db" in moved.hint


def test_an_unreadable_state_folder_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, **_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refused)
    settings = load_settings(state_url=f"sqlite:///{folder}/state/agent.db")
    write(settings.state_path, b"")
    monkeypatch.setattr(store, "open_reading", lambda settings: refused(settings.state_path))
    (found,) = store.state_file(settings)
    assert (found.state, str(settings.state_path) in found.message) == (State.PROBLEM, True)
    assert "chown" in found.hint


def test_an_old_sqlite_is_a_warning() -> None:
    assert store.sqlite((3, 40, 1)).state is State.WARNING
    assert store.sqlite((3, 51, 3)).state is State.OK


def test_a_file_that_is_not_a_store_is_a_problem(here: Here) -> None:
    path = here.folder / "state/agent.db"
    here.env["STATE_URL"] = f"sqlite:///{path}"
    write(path, "nonsense" * 1000)
    assert states(here("doctor", "--offline", "-o", "json"))["store"] == "problem"


async def test_a_store_of_a_newer_version(world: World, here: Here) -> None:
    await world.settle()
    connection = open_writer(world.state)
    sql = (
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('assure-agent', '9999_later', 'now')"
    )
    connection.execute(sql)
    connection.close()
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    said = await asyncio.to_thread(here, "doctor", "--offline", "-o", "json")
    assert (said.code, states(said)["store"], states(said)["account"]) == (1, "problem", "warning")


def test_a_source_that_is_missing_or_has_faults(here: Here) -> None:
    assert states(here("doctor", "--offline", "--specs", "elsewhere", "-o", "json"))["source"] == "problem"
    write(here.folder / "specs/bad.yaml", "a: [")
    assert states(here("doctor", "--offline", "-o", "json"))["source"] == "warning"


@pytest.mark.parametrize(
    "value",
    ["jane.doe_at_mail.example.com", "1984-02-29", "29.02.1984", "19840229", "born-1984-02-29", "31-6-12345678"],
)
def test_personal_data_in_labels_is_reported_without_its_value(here: Here, value: str) -> None:
    """[I6]"""
    write(here.folder / "specs/a.yaml", capture("a", labels={"team": "onboarding", "note": value}))
    said = here("doctor", "--offline", "-o", "json")
    (check,) = [check for check in said.json["checks"] if check["check"] == "labels"]
    assert (check["state"], "a.yaml:1 note" in check["message"]) == ("warning", True)
    assert value not in said.out


@pytest.mark.parametrize("value", ["onboarding", "4711", "v1.2.3", "2026", "team-at-work", ""])
def test_other_labels_are_accepted(value: str) -> None:
    assert source.personal_data_in(value) is None


def test_images_that_git_tracks(here: Here) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(here.folder), *arguments], check=True, capture_output=True)

    folder = here.folder / "images"
    git("init", "-q")
    assert images.tracked(folder).state is State.OK
    git("add", "images/front.jpg")
    found = images.tracked(folder)
    assert (found.state, "1 file " in found.message) == (State.WARNING, True)
    assert images.tracked(here.folder / "elsewhere").state is State.OK
    git("update-index", "--split-index")
    found = images.tracked(folder)
    assert (found.state, "the files that git tracks" in found.message) == (State.WARNING, True)
    git("update-index", "--no-split-index")
    (here.folder / ".git/index").write_bytes(b"garbage")
    assert "is damaged" in images.tracked(folder).message


def test_doctor_reports_if_authors_can_be_recorded(here: Here, tmp_path: Path) -> None:
    """[issue 14]"""
    assert "not in a git checkout" in source.provenance(here.folder / "specs", []).message
    clone = repository(tmp_path / "git")
    assert "no commit yet" in source.provenance(clone, []).message
    for name in ("a", "b"):
        write(clone / f"{name}.yaml", capture(name))
        head = commit(clone)
    found = source.provenance(clone, ["a.yaml", "b.yaml"])
    assert (found.state, head[:12] in found.message) == (State.OK, True)
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path}/git/remote.git", "cut")
    found = source.provenance(tmp_path / "cut", ["a.yaml", "b.yaml"])
    assert (found.state, "2 files: unknown (shallow clone)" in found.message) == (State.WARNING, True)
    assert "--unshallow" in (found.hint or "")
    (clone / ".git/HEAD").write_text("garbage")
    found = source.provenance(clone, ["a.yaml"])
    assert (found.state, "cannot record commits" in found.message) == (State.WARNING, True)


def test_a_released_lock_names_no_process(folder: Path) -> None:
    state = folder / "agent.db"
    assert holder(state) is None
    lock = FileLock(folder / "agent.db.lock")
    assert holder(state) == os.getpid()
    lock.release()
    assert holder(state) is None


def test_a_port_that_another_program_uses_is_a_problem(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        settings = load_settings(listen=taken, state_url=f"sqlite:///{folder}/agent.db")
        (found,) = machine.ports(settings, running=False)
        assert (found.name, found.state) == ("port of LISTEN", State.PROBLEM)
        assert taken in found.message
        both = load_settings(listen="127.0.0.1:0", events_listen=taken, events_secret="s" * 32)
        assert [one.state for one in machine.ports(both, running=False)] == [State.OK, State.PROBLEM]


async def test_the_ports_of_the_running_agent_are_its_own(world: World) -> None:
    async with world.running(http=True):
        settings = load_settings(
            listen=world.url.removeprefix("http://"), state_url=f"sqlite:///{world.state}", events_secret=""
        )
        (found,) = machine.ports(settings, running=running_agent(settings) is not None)
        assert (found.state, "belongs to the running agent" in found.message) == (State.OK, True)


def test_a_source_that_the_system_does_not_watch_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.watches(folder).state is State.OK
    assert machine.watches(folder / "missing").state is State.OK

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr(machine, "watch", refuse)
    found = machine.watches(folder)
    assert (found.state, "max_user_watches" in found.hint) == (State.WARNING, True)
    assert "limit reached" in found.message


@pytest.mark.parametrize(
    ("zone", "state"), [("", "ok"), ("UTC", "ok"), (":Europe/Amsterdam", "ok"), ("Europe/Amsterdm", "warning")]
)
def test_a_time_zone_that_the_machine_does_not_know_is_a_warning(zone: str, state: str) -> None:
    assert machine.time_zone({"TZ": zone}).state == state
