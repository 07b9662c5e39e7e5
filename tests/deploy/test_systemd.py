"""systemd accepts the service with its drop-ins, and its security."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.deployment import DEPLOY

UNIT = DEPLOY / "assure-agent.service"
DROP_INS = DEPLOY / "assure-agent.service.d"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


@pytest.fixture
def analyse(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Analyse the unit with its drop-ins. The command exists on every machine."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/assure-agent/bin/assure-agent", "/bin/true"))
    shutil.copytree(DROP_INS, tmp_path / DROP_INS.name)
    return lambda *command: subprocess.run(["systemd-analyze", *command, unit], capture_output=True, text=True)


def test_systemd_accepts_the_unit(analyse: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    found = analyse("verify")
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_systemd_reads_the_drop_ins(tmp_path: Path, analyse: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for path in (tmp_path / DROP_INS.name).iterdir():
        path.write_text(path.read_text() + "UnknownKey=\n")
    found = analyse("verify")
    assert found.stderr.count("'UnknownKey'") == len(list(DROP_INS.iterdir()))


def test_the_exposure_stays_below_one_and_a_half_of_ten(
    analyse: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    found = analyse("security", "--offline=true", "--threshold=15")
    assert found.returncode == 0, found.stdout
