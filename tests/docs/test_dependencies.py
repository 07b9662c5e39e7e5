"""Each runtime dependency has a purpose and a size, and the sizes are those of the installed packages."""

import importlib.metadata
import platform
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import write_docs  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = [Requirement(one).name for one in PROJECT["dependencies"]]
ROWS = [row.strip("| ").split(" | ") for row in write_docs.dependencies().splitlines()[2:]]


def megabytes(name: str) -> float:
    """The size of the files of one installed package."""
    paths = (file.locate() for file in importlib.metadata.files(name) or ())
    return sum(Path(str(path)).stat().st_size for path in paths if Path(str(path)).exists()) / 1e6


def test_every_runtime_dependency_has_a_purpose() -> None:
    assert [name for name, _, _ in ROWS] == NAMES
    assert all(purpose for _, _, purpose in ROWS)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the sizes are those of Linux on x86-64"
)
def test_the_sizes_are_those_of_the_installed_packages() -> None:
    for name, size, _ in ROWS:
        assert float(size) > 0.6 * megabytes(name) - 0.5, name
    assert 0.6 < sum(float(size) for _, size, _ in ROWS) / 110 < 1.5
