"""The commands of README and of the sandbox guide work as they are printed, in order."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.command_runner import finish, spawn, wait_for
from tests.support.links import page_of
from tests.support.timeouts import PATIENT
from verification.processes import simulated

ROOT = Path(__file__).parents[2]
SETTINGS = {"LISTEN": "127.0.0.1:0"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the example requests and specimens."""
    for name in ("specs", "images"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def commands(text: str) -> list[str]:
    """The lines of the shell blocks. A comment does not belong to a command."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in (re.sub(r"\s{2,}#.*", "", one).strip() for one in joined.splitlines()) if line]


def agent_commands(text: str) -> list[list[str]]:
    return [line.split()[1:] for line in commands(text) if line.startswith(".venv/bin/assure-agent ")]


def test_the_demo_of_the_readme_has_a_capture_link_that_works(checkout: Path) -> None:
    """The README prints these commands in this order, after `make run`."""
    readme = (ROOT / "README.md").read_text()
    reset, run, link, *others = agent_commands(readme.split("With an Assure account")[0])
    assert (reset, run[:2], link[-1]) == (["sandbox", "reset"], ["run", "--sandbox"], "--link")
    assert finish(spawn(checkout, "run", "--sandbox", "--once", **SETTINGS)).code == 0
    assert finish(spawn(checkout, *reset)).code == 0
    process = spawn(checkout, *run, **SETTINGS)
    try:
        wait_for(process, "hosted-capture: capture link ready, see it with assure-agent get hosted-capture --link")
        found = finish(spawn(checkout, *link))
        assert found.code == 0
        page = httpx.get(page_of(found.out.strip()), trust_env=False, timeout=PATIENT)
        assert "Verify your identity" in page.text
        for command in others:
            assert finish(spawn(checkout, *command)).code == 0, command
    finally:
        assert finish(process, signal.SIGTERM).code == 0


def test_every_command_of_the_sandbox_guide_works(checkout: Path) -> None:
    """Two commands serve until they are interrupted, and the last `doctor` meets a rotated secret."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = checkout / "bin" / "assure-agent"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom agent.cli import main\nmain()\n")
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "ASSURE_AGENT_LISTEN": "127.0.0.1:0"}
    lines = [line.replace("9466", port) for line in commands((ROOT / "docs/sandbox.md").read_text())]
    servers = [line for line in lines if line.startswith("assure-agent sandbox --port")]
    calls = [line for line in lines if line not in servers]
    assert len(servers) == 2
    assert calls.count("assure-agent doctor") == 2
    last = len(calls) - 1 - calls[::-1].index("assure-agent doctor")
    settings = [line for line in calls if line.startswith("export")]

    def shell(script: list[str]) -> subprocess.CompletedProcess[str]:
        text = "\n".join(["set -eu", *script])
        return subprocess.run(
            ["sh", "-c", text], cwd=checkout, env=environment, capture_output=True, text=True, timeout=PATIENT
        )

    first, rotated = (dict(re.findall(r"--([\w-]+) (\S+)", line)) for line in servers)
    with simulated({**first, "delay": "10ms"}) as url:
        assert url.endswith(f":{port}")
        done = shell(calls[:last] + calls[last + 1 :])
        assert done.returncode == 0, done
        assert "createDossier" in done.stdout, "the ledger"
        assert "startVerification" in done.stdout, "the faults"
    with simulated({**rotated, "persist": str(checkout / rotated["persist"])}):
        refused = shell([*settings, "assure-agent doctor"])
        assert refused.returncode == 1
        assert "client id and secret" in refused.stdout + refused.stderr


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    """As a user runs them: a copy, another process, the command on the PATH."""
    (sample,) = (ROOT / "examples/tests").glob("*.py")
    copy = shutil.copy(sample, tmp_path)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", copy]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, timeout=PATIENT, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
