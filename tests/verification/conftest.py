"""The proofs silence the log of their agents. This fixture restores it for later tests in the process."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def log_restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
