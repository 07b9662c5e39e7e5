"""Fixtures of the folder and the world of a test."""

import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import certifi
import pytest

from tests.support.environment import CONFIG, World, small_world

Begin = Callable[..., Awaitable[World]]


SHM = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def shared_authorities() -> Iterator[None]:
    """Load the certificate authorities of httpx once: it takes 25 ms for each client, and no test changes them."""
    create, authorities = ssl.create_default_context, certifi.where()
    shared = create(cafile=authorities)

    def cached(*arguments: Any, **options: Any) -> ssl.SSLContext:
        return shared if not arguments and options == {"cafile": authorities} else create(*arguments, **options)

    with mock.patch.object(ssl, "create_default_context", cached):
        yield


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder in memory if the system has one, because an fsync on a disk is slow."""
    if not os.access(SHM, os.W_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=SHM, prefix="assure-agent-tests-") as name:
        yield Path(name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of its own."""
    with in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture
async def begin(folder: Path, database_server: Any) -> AsyncIterator[Begin]:
    """A function that begins a world; keywords are switches of the sandbox."""
    async with AsyncExitStack() as stack:
        place = {}
        if database_server is not None:
            url = await stack.enter_async_context(database_server.database())
            state = folder / "state"
            place = {"state_url": url, "state_dir": state, "keys_dir": state / "keys"}

        async def start(**switches: Any) -> World:
            world = await stack.enter_async_context(small_world(folder, replace(CONFIG, **switches), **place))
            world.server = database_server
            return world

        yield start


@pytest.fixture
async def world(begin: Begin) -> World:
    return await begin()
