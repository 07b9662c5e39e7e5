"""`make dist` publishes only what two builds agree on, with checksums that `sha256sum` accepts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.deployment import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import dist


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the results. No environment is made, and the description of the wheel is one file."""

    def describe(wheel: Path, place: Path) -> list[Path]:
        listed = place / "constraints.txt"
        listed.write_text(wheel.name)
        return [listed]

    monkeypatch.setattr(dist, "TARGET", tmp_path / "dist")
    monkeypatch.setattr(dist, "describe", describe)
    return tmp_path / "dist"


def builder(content: Callable[[str], str]) -> Callable[[Path, str], list[Path]]:
    """A build whose wheel has a content that depends on the folder, and whose sdist does not."""

    def build(folder: Path, _: str) -> list[Path]:
        folder.mkdir()
        (folder / "a.tar.gz").write_text("sdist")
        (folder / "a.whl").write_text(content(folder.name))
        return sorted(folder.iterdir())

    return build


def test_equal_builds_are_published_with_checksums(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir()
    (target / "old.whl").write_text("from an earlier version")
    monkeypatch.setattr(dist, "build", builder(lambda _: "wheel"))
    dist.main()
    assert {path.name for path in target.iterdir()} == {"a.tar.gz", "a.whl", "constraints.txt", "SHA256SUMS"}
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=target, capture_output=True)
    assert (checked.returncode, checked.stdout.count(b"OK")) == (0, 3)


def test_builds_that_differ_are_not_published(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "build", builder(lambda folder: folder))
    with pytest.raises(SystemExit, match=r"The two builds differ: a\.whl"):
        dist.main()
    assert not target.exists()
