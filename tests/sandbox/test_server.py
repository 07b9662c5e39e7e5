"""The server of the world: ports, signals, its file, and its imports."""

import ast
import asyncio
import os
import signal
import stat
from pathlib import Path

import httpx
import pytest

import agent.sandbox
from agent.sandbox import SandboxConfig, SandboxServer, Subscription, persistence, server
from agent.sandbox.config import DOCUMENTS
from agent.sandbox.world import World
from tests.support.timeouts import PATIENT

from .conftest import Begin
from .support import JPEG, PNG, Api, Clock, config, data_url


async def test_two_servers_have_separate_ports_and_worlds(begin: Begin) -> None:
    first, second = await begin(), await begin()
    assert first.server.url != second.server.url
    await first.dossier()
    assert (await second.call("GET", "/dossiers")).json() == []


async def test_a_taken_port_is_an_error_at_start(api: Api) -> None:
    port = int(api.server.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        await SandboxServer(config(port=port)).start()


async def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    sandbox = SandboxServer()
    await sandbox.stop()
    await sandbox.start()
    await sandbox.stop()
    await sandbox.stop()


async def test_a_stopped_server_leaves_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with SandboxServer():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_main_serves_until_a_signal() -> None:
    said: list[str] = []
    serving = asyncio.create_task(server.main_async(config(), said.append))
    while not said:
        await asyncio.sleep(0)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as http:
        assert (await http.get(f"{said[0]}/sandbox/ledger")).status_code == 200
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, PATIENT)


async def test_a_restarted_sandbox_finds_its_dossiers_again(begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "sandbox.json"
    api = await begin(persist=file)
    started = await api.started()
    pending = await api.process(await api.dossier("aa-2"))
    await api.call("POST", f"{pending}/images", json={"front": data_url(PNG)})
    await api.link()
    await api.call("POST", started)
    before = api.server.ledger.report()
    await api.server.stop()

    again = await begin(persist=file)
    after = again.server.ledger.report()
    assert (after["dossiers"], after["violations"]) == (before["dossiers"], before["violations"])
    again.clock.advance(60)
    assert (await again.read(started))["status"] == "accepted"
    assert (await again.read(pending))["status"] == "pending"
    assert (await again.call("GET", f"{pending}/images", params={"depiction": "front"})).content == PNG
    assert (await again.call("POST", pending)).status_code == 200
    captured = again.server.ledger.by_reference("aa-1")[1].processes
    assert [again.server.world.processes[entry.process_id].status(again.clock()) for entry in captured] == ["accepted"]
    assert len({await again.dossier() for _ in range(3)} | set(again.server.world.dossiers)) == 6


async def test_the_file_is_private_and_keeps_no_picture_of_a_started_process(begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "sandbox.json"
    api = await begin(persist=file)
    started = await api.started()
    await api.server.stop()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert data_url(JPEG).partition(",")[2] not in file.read_text()
    again = await begin(persist=file)
    image = next(iter(again.server.world.processes[started.split("/")[-1]].images.values()))
    assert (image.content, len(image.digest)) == (None, 64)
    assert (await again.call("GET", f"{started}/images", params={"depiction": "front"})).status_code == 404


async def test_a_changed_world_is_saved_while_it_runs(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SAVE_EVERY", 0.01)
    file = tmp_path / "sandbox.json"
    api = await begin(persist=file)
    dossier = await api.dossier()
    async with asyncio.timeout(PATIENT):
        while not file.exists() or dossier not in file.read_text():
            await asyncio.sleep(0.01)


def test_a_file_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        persistence.load(World(SandboxConfig()), b'{"version": 99}')


def test_the_world_runs_without_a_server_under_a_virtual_clock(clock: Clock) -> None:
    world = World(config(), clock)
    dossier = world.create_dossier({"externalReference": "r"})["dossierId"]
    process = world.create_process(
        dossier, {"provider": "signicatpictureid", "processType": "document", "documentId": 137}
    )["processId"]
    world.set_images(dossier, process, {"front": data_url()})
    world.start_verification(dossier, process, {})
    clock.advance(10)
    assert world.get_process(dossier, process)["status"] == "accepted"
    assert world.ledger.process(process).starts == 1


def test_ids_repeat_with_seed_and_time_and_only_then(clock: Clock) -> None:
    same = [World(config(), clock).create_dossier({})["dossierId"] for _ in range(2)]
    clock.advance(1)
    assert same[0] == same[1] != World(config(), clock).create_dossier({})["dossierId"]


@pytest.mark.parametrize("switches", [{"outcomes": {"perfect": 1}}, {"outcomes": {}}, {"verification_delay": (3, 1)}])
def test_a_config_that_cannot_work_is_refused(switches: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"outcomes|verification_delay"):
        config(**switches)


def test_only_137_is_a_real_document_id() -> None:
    assert [document.id for document in DOCUMENTS if document.id < 9000] == [137]
    assert len({document.id for document in DOCUMENTS}) == len(DOCUMENTS)


def test_secrets_are_hidden_in_representations() -> None:
    assert "sandbox-secret" not in repr(SandboxConfig())


def test_the_sandbox_imports_nothing_of_the_agent() -> None:
    for file in Path(agent.sandbox.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            ours = [name for name in names if name.split(".")[0] == "agent"]
            assert all(name.startswith("agent.sandbox") for name in ours), file.name


def test_the_secret_of_a_subscription_is_hidden() -> None:
    secret = "a secret of the subscription"
    subscription = Subscription.model_validate({"url": "http://x/", "secret": secret})
    assert secret not in repr(subscription) + str(subscription.row()) + repr(config(events=subscription))
