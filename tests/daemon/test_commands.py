"""Valid and invalid commands, their execution exactly once, and the access to the control socket."""

import asyncio
import contextlib
import errno
import socket
import stat
from pathlib import Path

import orjson
import pytest

from agent.core.errors import StoreError
from agent.core.record import Outcome
from agent.daemon import offline
from agent.daemon.control_socket import short_socket_path, socket_path
from agent.store.sqlite.connection import sqlite3
from tests.support.clock import patiently, until
from tests.support.commands import BOTH, UNKNOWN, Answer, ask, commands, execute_offline, refused, send
from tests.support.environment import World
from tests.support.timeouts import PATIENT

WRONG: list[tuple[Answer, str]] = [
    ({"verb": "resolve", "name": "nobody", "answer": "retry"}, "nobody"),
    ({"verb": "resolve", "name": "fine", "answer": "retry"}, "fine"),
    ({"verb": "resolve", "answer": "retry"}, ""),
    ({"verb": "resolve", "name": 7, "answer": "retry"}, ""),
    ({"verb": "resolve", "name": "held", "answer": "perhaps"}, ""),
    ({"verb": "resolve", "name": "held"}, ""),
    ({"verb": "resolve", "name": "held", "answer": "adopt"}, "adopt"),
    ({"verb": "resolve", "name": "held", "answer": "adopt", "dossierId": "d-1"}, "adopt"),  # it has a dossier
    ({"verb": "rerun", "name": "nobody"}, "nobody"),
    ({"verb": "forget", "name": "nobody"}, "nobody"),
    ({"verb": "forget", "name": "fine"}, "fine"),
    ({"verb": "delete", "name": "fine"}, ""),
    ({"verb": None}, ""),
    ({"verb": ["pause"]}, ""),
    ({"verb": "pause", "id": "short"}, ""),
    ({"verb": "pause", "id": "long" * 17}, ""),
    ({"verb": "pause", "id": 12345678}, ""),
    ({"verb": "pause", "id": None}, ""),
    ({}, ""),
]


@BOTH
@pytest.mark.parametrize(("wrong", "word"), WRONG, ids=[repr(wrong)[:60] for wrong, _ in WRONG])
async def test_an_invalid_command_is_answered_with_a_hint_and_changes_nothing(
    world: World, through: str, wrong: Answer, word: str
) -> None:
    world.upload("fine", suspend=True)
    world.upload("held", document_id=UNKNOWN)
    await world.settle()
    before = world.records()
    request = {"id": "command-1", **wrong}
    if through == "socket":
        async with world.running():
            line = await send(world, orjson.dumps(request))
            after = world.records()  # before the end of the agent, which lets time pass
        assert line, "the agent closed the connection"
        answer = orjson.loads(line)
    else:
        answer = await asyncio.to_thread(offline.execute_offline, world.settings(), request)
        after = world.records()
    refused(answer, word)
    assert after == before
    assert commands(world) == 0


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"[1]", b'"pause"', b"\xff\xfe", b"{" * 100_000],
    ids=["empty", "text", "list", "string", "no UTF-8", "too long"],
)
async def test_invalid_lines_on_the_socket_are_harmless(world: World, line: bytes) -> None:
    world.upload("a", "sandbox-delay=30s")
    async with world.running():
        answer = await send(world, line)
        assert not answer or orjson.loads(answer)["ok"] is False
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(60)
        assert world.record("a").outcome is Outcome.ACCEPTED


async def test_an_idle_connection_blocks_no_shutdown_and_no_command(world: World) -> None:
    async with world.running():
        with short_socket_path(socket_path(world.settings().local_path)) as name:
            _, writer = await asyncio.open_unix_connection(name)
        assert (await ask(world, "pause"))["ok"]
    writer.close()
    await writer.wait_closed()


async def test_the_oldest_of_too_many_idle_connections_is_closed(world: World) -> None:
    async with world.running():
        crowd = []
        for _ in range(40):
            with short_socket_path(socket_path(world.settings().local_path)) as name:
                crowd.append(await asyncio.open_unix_connection(name))
        assert (await ask(world, "pause"))["ok"]
        reader, _ = crowd[0]
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENT) == b""
        for _, writer in crowd:
            writer.transport.abort()


@pytest.mark.both_engines
async def test_a_command_that_is_sent_three_times_at_once_is_executed_once(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running():
        world.clock.release()
        answers = await asyncio.gather(*(ask(world, "rerun", name="a") for _ in range(3)))
        await world.clock.advance(60)
    assert answers == [answers[0]] * 3
    assert answers[0]["ok"], answers
    assert world.starts("a") == 2
    assert commands(world) == 1


@pytest.mark.both_engines
async def test_a_command_is_executed_once_across_a_restart(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running():
        assert (await ask(world, "rerun", name="a"))["ok"]
        await world.clock.advance(60)
    assert (await execute_offline(world, "rerun", name="a"))["ok"]
    async with world.running():
        assert (await ask(world, "rerun", name="a"))["ok"]
        await world.clock.advance(60)
    assert world.starts("a") == 2


# -- the socket ----------------------------------------------------------------------------------------------------


async def test_only_the_owner_may_use_the_socket_and_the_agent_removes_it(world: World) -> None:
    async with world.running():
        mode = socket_path(world.settings().local_path).lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not socket_path(world.settings().local_path).exists()


async def test_a_state_folder_with_a_long_path_is_reachable(world: World) -> None:
    deep = world.folder.joinpath(*["a-rather-long-name-of-a-folder"] * 6)
    place = {"state_url": f"sqlite:///{deep}/agent.db"} if world.server is None else {"state_dir": deep}
    path = world.settings(**place).local_path
    assert len(str(socket_path(path))) > 150
    async with world.running(**place):
        answer = orjson.loads(await send(world, b'{"id": "command-1", "verb": "pause"}', path))
        assert answer["ok"]


async def test_the_socket_of_a_crashed_agent_is_replaced(world: World) -> None:
    world.state.parent.mkdir()
    with short_socket_path(socket_path(world.settings().local_path)) as name, socket.socket(socket.AF_UNIX) as dead:
        dead.bind(name)
    async with world.running():
        assert (await ask(world, "pause"))["ok"]


async def test_a_socket_that_cannot_be_created_is_an_error_with_its_folder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # as bind raises it, without a path

    monkeypatch.setattr(asyncio, "start_unix_server", refused)
    with pytest.raises(StoreError, match=f"{world.state.parent} cannot be written: Permission denied"):
        async with world.running():
            pass


async def test_the_socket_of_another_agent_is_not_removed(world: World) -> None:
    """The operator removed the lock file, and another agent has created its socket."""
    path = socket_path(world.settings().local_path)
    async with world.running():
        path.unlink()
        with (
            short_socket_path(path) as name,
            socket.socket(socket.AF_UNIX) as others,
        ):
            others.bind(name)
    assert path.exists()


async def test_an_ending_agent_still_answers_a_command(world: World) -> None:
    world.upload("a")
    await world.settle()
    async with world.running() as agent:
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await until(lambda: asked.done() or agent._shutdown.requested.is_set() or world.rows("SELECT 1 FROM commands"))
        agent.stop()
        assert (await patiently(asked))["ok"]
    await world.settle()
    assert world.starts("a") == 2


@pytest.mark.state_file  # a server reports its disk
async def test_a_failed_disk_is_reported_instead_of_the_socket_that_remains(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket cannot be removed from an aborted file system; the error of the store is more important."""
    world.upload("a", "sandbox-delay=1m")
    with pytest.raises(StoreError, match="The state file could not be written"):
        async with world.running() as agent:
            connection = sqlite3.connect(world.state)
            connection.execute("CREATE TRIGGER broken BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'EIO'); END")
            connection.commit()
            connection.close()

            def refused(path: Path) -> None:
                raise OSError(errno.EROFS, "Read-only file system", str(path))

            monkeypatch.setattr("agent.daemon.control_socket._remove", refused)
            world.clock.release()
            await until(agent._shutdown.requested.is_set)
