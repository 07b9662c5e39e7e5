"""Each import contract of pyproject.toml bites: with a forbidden import added, the check fails and names it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRESPASSES = {
    "Imports go one way": ("agent/store/repository.py", "import agent.controller.reconciler"),
    "The sandbox imports nothing of the agent": ("agent/sandbox/config.py", "import agent.core.assure_types"),
    "Only the command line starts the sandbox": ("agent/daemon/agent.py", "import agent.sandbox"),
    "Benchmarks import verification": ("verification/report.py", "import bench.report"),
    "Only tests import tests": ("bench/store.py", "import tests.store.support"),
    "The core is pure": ("agent/core/machine.py", "import time"),
    "Only sinks and the sandbox use an HTTP library": ("agent/assure/connection.py", "import httpx"),
    "The engines of the store do not know each other": (
        "agent/store/postgres/__init__.py", "import agent.store.sqlite.connection"
    ),
    "What the engines share knows no engine": ("agent/store/changes.py", "import agent.store.sqlite.connection"),
}  # fmt: skip


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    )


def test_every_contract_has_a_violating_import() -> None:
    names = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith('name = "')]
    contracts = [name for name in names if "assure-agent" not in name]
    assert len(contracts) == len(TRESPASSES)
    for start in TRESPASSES:
        assert any(start in name for name in contracts), start


@pytest.mark.parametrize("contract", TRESPASSES)
def test_a_contract_bites(contract: str, tmp_path: Path) -> None:
    file, line = TRESPASSES[contract]
    for package in ("agent", "verification", "bench"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text() + f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN") or "BROKEN" in row]
    assert any(contract in row for row in broken), result.stdout
