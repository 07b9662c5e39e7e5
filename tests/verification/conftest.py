"""The proofs keep their agents quiet; whatever is tested after them in this process is heard again."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def heard_again() -> Iterator[None]:
    yield
    structlog.reset_defaults()
