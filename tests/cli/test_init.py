"""`init` makes a folder in which the agent runs, and `assets` writes the files of the installed version."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agent.cli.packaged_files import packaged_files
from agent.platform.settings import load_found
from tests.cli.command_runner import COMMAND, Here
from verification.builders.request_files import write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def run_installed(installed: Path, folder: Path, *arguments: str, program: str = COMMAND[-1]) -> str:
    """The output of the installed command, which finds nothing of the checkout."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [*COMMAND[:-1], program, *arguments], cwd=folder, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    return done.stdout


def test_an_installed_agent_runs_in_the_folder_that_init_made(installed: Path, tmp_path: Path) -> None:
    said = run_installed(installed, tmp_path, "init", "a demo")
    assert said.endswith("\nNext: cd 'a demo' && assure-agent run --sandbox\n")
    made = tmp_path / "a demo"
    assert run_installed(installed, made, "validate", "specs") == "6 files, 7 requests: ok\n"
    said = run_installed(installed, made, "run", "--sandbox", "--once", "--listen", "127.0.0.1:0")
    assert "accepted" in said
    run_installed(installed, made, "get")  # `.env` is accepted: its lines are comments


def test_the_wheel_and_the_checkout_have_the_same_files(installed: Path, tmp_path: Path) -> None:
    program = "from agent.cli.packaged_files import *; print(PACKAGE, *packaged_files())"
    package, *names = run_installed(installed, tmp_path, program=program).split()
    assert Path(package) == installed / "agent"
    assert names == [*packaged_files()]
    assert {"specs/passport.yaml", "deploy/assure-agent.service", "grafana/prometheus/rules.yaml"} <= {*names}


def test_every_example_of_the_repository_is_packaged() -> None:
    examples = {str(path.relative_to(ROOT)) for path in (ROOT / "specs").glob("*.yaml")}
    assert examples == {name for name in packaged_files() if name.startswith("specs/")}


def test_init_never_overwrites_a_file(here: Here) -> None:
    write(here.folder / ".env", "ASSURE_AGENT_CONCURRENCY=8\n").chmod(0o640)
    (here.folder / ".gitignore").symlink_to("elsewhere")
    said = here("init", ".")
    assert "kept .env\nkept .gitignore\nmade images/specimens/" in said.out
    assert said.out.endswith("\nNext: assure-agent run --sandbox\n")
    assert (here.folder / ".env").read_text() == "ASSURE_AGENT_CONCURRENCY=8\n"
    assert not (here.folder / "elsewhere").exists()
    again = here("init")
    assert "made" not in again.out
    assert again.code == 0
    taken = write(here.folder / "file", "")
    here("init", "file").is_one_clear_error("The system refused file", code=1)
    assert taken.read_bytes() == b""


def test_the_settings_of_init_are_secret_and_ignored_by_git(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here("init")
    assert (here.folder / ".env").stat().st_mode & 0o777 == 0o600
    subprocess.run(["git", "init", "-q"], cwd=here.folder, check=True)
    write(here.folder / "images/customer.jpg", b"")
    write(here.folder / "state/agent.db", b"")
    shown = subprocess.run(
        ["git", "add", "--dry-run", "."], cwd=here.folder, check=True, capture_output=True, text=True
    )
    added = {line.split("'")[1] for line in shown.stdout.splitlines()}
    assert added == {".gitignore", "specs/schema.json"} | {
        name for name in packaged_files() if name.startswith(("specs/", "images/"))
    }
    monkeypatch.chdir(here.folder)
    active = (here.folder / ".env").read_text().replace("#ASSURE_AGENT", "ASSURE_AGENT")
    write(here.folder / "all.env", active.replace("/var/backups/assure-agent", str(here.folder)))
    _, found = load_found(env_file="all.env")
    assert {one.where.rpartition(":")[0] for name, one in found.items() if name != "env_file"} == {"all.env"}


def test_assets_writes_the_files_and_reports_those_that_differ(here: Here) -> None:
    said = here("assets", "monitoring")
    assert said.out.endswith("The files in monitoring are those of this version.\n")
    dashboard = here.folder / "monitoring/grafana/dashboards/overview.json"
    assert dashboard.read_bytes() == (ROOT / "grafana/dashboards/overview.json").read_bytes()
    assert not (here.folder / "monitoring/specs").exists()
    assert here("assets", "monitoring").out == "The files in monitoring are those of this version.\n"
    dashboard.write_text("mine")
    said = here("assets", "monitoring")
    said.is_one_clear_error("1 file in monitoring differs from this version", "--overwrite", code=1)
    assert (said.out, dashboard.read_text()) == ("differs monitoring/grafana/dashboards/overview.json\n", "mine")
    assert here("assets", "monitoring", "--overwrite").out.startswith("replaced monitoring/grafana/dashboards/")
    assert dashboard.read_bytes() == (ROOT / "grafana/dashboards/overview.json").read_bytes()
