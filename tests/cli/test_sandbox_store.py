"""The store of the demo: a separate folder that is never used as a real store, and can be reset."""

import orjson
import pytest

from agent.platform.settings import Settings
from agent.sandbox import SandboxServer
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write

DEMO = ("run", "--sandbox", "--once", *FREE_PORT)
REAL = ("run", "--once", *FREE_PORT)
SANDBOX = "sqlite:///state/sandbox/agent.db"


@pytest.fixture
def demo(here: Here) -> Here:
    """A folder after a complete run of the demo."""
    write(here.folder / "specs/a.yaml", upload("customer-a", {"front": "front.jpg"}))
    assert here(*DEMO).code == 0
    return here


def test_a_real_agent_after_the_demo_verifies_every_request(demo: Here, remote: SandboxServer) -> None:
    """[I2] As the README describes: the demo, then credentials, then `run`."""
    said = demo(*REAL, BASE_URL=remote.url)
    assert said.code == 0, said
    assert "sandbox" not in (said.out + said.err).lower()
    assert remote.ledger.calls["startVerification"] == 1
    assert (demo.folder / "state/agent.db").exists()
    assert demo("audit", "certificate", "customer-a", BASE_URL=remote.url).out.count("SIMULATED") == 0


@pytest.mark.parametrize("rebind", [(), ("--rebind",)], ids=["run", "run --rebind"])
def test_a_store_of_the_sandbox_never_becomes_a_real_one(
    demo: Here, remote: SandboxServer, rebind: tuple[str, ...]
) -> None:
    said = demo(*REAL, *rebind, "--state-url", SANDBOX, BASE_URL=remote.url)
    said.is_one_clear_error("simulated", "STATE_URL")
    assert "--rebind" not in said.err  # it would not help
    assert remote.ledger.calls.total() == 0


def test_the_sandbox_never_uses_a_real_store(here: Here, remote: SandboxServer) -> None:
    write(here.folder / "specs/a.yaml", upload("customer-a", {"front": "front.jpg"}))
    assert here(*REAL, BASE_URL=remote.url).code == 0
    here(*DEMO, "--rebind", "--state-url", "sqlite:///state/agent.db").is_one_clear_error("sandbox", "STATE_URL")
    here("sandbox", "reset", "--state-url", "sqlite:///state/agent.db").is_one_clear_error("it is kept")
    assert (here.folder / "state/agent.key").exists()


def test_a_store_of_the_standalone_sandbox_never_becomes_one_of_assure(here: Here, remote: SandboxServer) -> None:
    write(here.folder / "specs/a.yaml", upload("customer-a", {"front": "front.jpg"}))
    assert here(*REAL, BASE_URL=remote.url).code == 0
    said = here(*REAL, "--rebind", BASE_URL="https://assure.invalid", CLIENT_ID="real")
    said.is_one_clear_error("simulated", "real at https://assure.invalid")


def test_audit_output_about_the_sandbox_is_marked_as_simulated(demo: Here) -> None:
    said = demo("audit", "certificate", "customer-a")
    assert said.code == 0
    assert "SIMULATED" in said.out.splitlines()[1]
    assert "SIMULATED" in demo("audit", "certificate", "customer-a", "-o", "json").json["items"][0]["simulated"]
    exported = demo("audit", "export").out
    assert "SIMULATED" in orjson.loads(exported.splitlines()[0])["simulated"]


def test_the_commands_find_the_store_of_the_demo_and_name_it(demo: Here) -> None:
    said = demo("get", "-o", "json")
    assert [item["outcome"] for item in said.json["items"]] == ["accepted"]
    assert "state/sandbox/agent.db" in said.err


def test_the_demo_runs_again_after_a_reset(demo: Here) -> None:
    source = Settings(state_url=f"sqlite:///{demo.folder}/state/sandbox/agent.db").source_folder
    (source / "mirror.git").mkdir(parents=True)
    (source / "current").symlink_to("a" * 40)
    again = demo(*DEMO)
    assert "customer-a: accepted" not in again.out
    assert "sandbox reset" in again.out
    assert demo("sandbox", "reset").code == 0
    assert list((demo.folder / "state/sandbox").iterdir()) == []
    fresh = demo(*DEMO)
    assert "customer-a: accepted" in fresh.out
    assert "history-lost" not in fresh.out + fresh.err


def test_a_reset_is_refused_while_the_demo_runs_and_without_one(here: Here) -> None:
    """[I7]"""
    here("sandbox", "reset").is_one_clear_error("no state file of the sandbox")
    process = spawn(here.folder, "run", "--sandbox", *FREE_PORT)
    try:
        assert process.stdout is not None
        assert "metrics" in process.stdout.readline()
        here("sandbox", "reset").is_one_clear_error("Another agent", str(process.pid))
    finally:
        process.terminate()
        finish(process)


def test_a_reset_keeps_the_key_of_another_store_in_the_folder(demo: Here, remote: SandboxServer) -> None:
    other = "sqlite:///state/sandbox/other.db"
    demo(*REAL, "--state-url", other, BASE_URL=remote.url)
    demo("sandbox", "reset").is_one_clear_error("other.db", "shares the folder")
    assert (demo.folder / "state/sandbox/agent.key").exists()


def test_the_first_start_with_requests_warns_about_billed_starts(here: Here, remote: SandboxServer) -> None:
    """In another working directory the store is new, and Assure bills every request again."""
    write(here.folder / "specs/a.yaml", upload("customer-a", {"front": "front.jpg"}))
    write(here.folder / "images/other.jpg", jpeg("sandbox-delay=10ms other"))
    write(here.folder / "specs/b.yaml", upload("customer-b", {"front": "other.jpg"}))
    (here.folder / "specs/b.yaml").rename(here.folder / "b.yaml")
    assert "bills 1 start. " in here("plan", BASE_URL=remote.url).err
    (here.folder / "b.yaml").rename(here.folder / "specs/b.yaml")
    planned = here("plan", BASE_URL=remote.url)
    assert f"no state file at {here.folder}/state/agent.db" in planned.err
    assert "2 starts" in planned.err
    said = here(*REAL, BASE_URL=remote.url)
    warning = next(orjson.loads(line) for line in said.err.splitlines() if "created a new store" in line)
    assert (warning["level"], warning["starts"]) == ("warning", 2)
    assert warning["store"] == f"{here.folder}/state/agent.db"
    assert "created a new store" not in here(*REAL, BASE_URL=remote.url).err


def test_each_start_prints_the_paths_that_it_uses(demo: Here) -> None:
    said = demo(*DEMO)
    assert f"requests: {demo.folder}/specs" in said.out
    assert f"state file: {demo.folder}/state/sandbox/agent.db" in said.out
