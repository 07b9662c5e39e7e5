"""The service and the container: all names exist, and systemd accepts the service and its security."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.platform.settings import PREFIX, Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "assure-agent.service"


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {f"{PREFIX}CLIENT_SECRET_FILE"}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", path.read_text())) <= known


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)
def test_systemd_accepts_the_unit_and_its_security(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/assure-agent/bin/assure-agent", "/bin/true"))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout  # an exposure above 1.5 of 10
