"""The stores of these tests are in memory: what they prove is what SQLite was told to do, and not what a disk does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import in_memory


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path) as folder:
        yield folder
