"""The fixture that gives a test its world."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .world import CONFIG, World, small_world

Begin = Callable[..., Awaitable[World]]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Begins a world; keywords are switches of the sandbox."""
    async with AsyncExitStack() as stack:

        async def start(**switches: Any) -> World:
            return await stack.enter_async_context(small_world(tmp_path, replace(CONFIG, **switches)))

        yield start


@pytest.fixture
async def world(begin: Begin) -> World:
    return await begin()
