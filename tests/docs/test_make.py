"""`make run` installs what the agent needs to run. The tools of the tests come with `make test`."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def steps(environment: Path, target: str, *variables: str) -> str:
    """The commands of a target, none of which runs."""
    command = ["make", "--dry-run", "--no-print-directory", target, f"VENV={environment}", *variables]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_runtime_and_the_tools_are_installed_by_the_targets_that_need_them(tmp_path: Path) -> None:
    runtime, tools = f"scripts/setup {tmp_path}\n", f"scripts/setup {tmp_path} dev\n"
    assert steps(tmp_path, "run").startswith(runtime)
    assert steps(tmp_path, "test").startswith(tools)
    (tmp_path / ".runtime").touch()
    assert "scripts/setup" not in steps(tmp_path, "run")
    assert steps(tmp_path, "test").startswith(tools)
    (tmp_path / ".ready").touch()
    assert not steps(tmp_path, "test").startswith("scripts/setup /")
    os.utime(tmp_path / ".ready", (0, 0))
    assert steps(tmp_path, "check").startswith(tools)


def test_the_database_is_installed_for_the_demo_that_uses_it(tmp_path: Path) -> None:
    (tmp_path / ".runtime").touch()
    assert steps(tmp_path, "run", "STORE=postgres").startswith(f"scripts/setup {tmp_path} postgres\n")
    (tmp_path / ".runtime-postgres").touch()
    assert "scripts/setup" not in steps(tmp_path, "run", "STORE=postgres")
    assert "demo_on_postgres.py reset" in steps(tmp_path, "reset", "STORE=postgres")
