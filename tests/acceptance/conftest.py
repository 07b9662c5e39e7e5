"""The fixture of the acceptance tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installed_command import Office
from verification.processes import simulated


@pytest.fixture
def office(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    """An office; its parameter, or the mark `sandbox(delay="1s")`, chooses the simulator's options."""
    marker = request.node.get_closest_marker("sandbox")
    options = getattr(request, "param", None) or (marker.kwargs if marker else {})
    for name in ("specs", "images"):
        (tmp_path / name).mkdir()
    with simulated(options) as url:
        yield Office(tmp_path, url)
