"""`make run STORE=postgres`: the demo on a server of its own, which never outlives its agent."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.timeouts import eventually
from verification.postgres_server import PostgresUnavailable, alive, binaries

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, str(ROOT / "scripts" / "demo_on_postgres.py")]
SERVER = Path("state", "postgres", "server")


class Demo:
    """The demo in a folder, below a process that takes the place of make."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._output = folder / "output"

    def start(self) -> None:
        """Start it, and wait until all requests are settled."""
        self._output.unlink(missing_ok=True)
        with self._output.open("w") as output:
            self.make = subprocess.Popen(
                ["sh", "-c", '"$@" & echo $! >pid; wait $!', "make", *SCRIPT, "run"],
                cwd=self._folder,
                env=os.environ | {"ASSURE_AGENT_LISTEN": "127.0.0.1:0"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        settled = "All requests are settled"
        eventually(lambda: settled in self._output.read_text() or self.make.poll() is not None, self._output.read_text)
        assert settled in self._output.read_text(), self._output.read_text()
        self.agent = int((self._folder / "pid").read_text())
        self.server = int((self._folder / SERVER / "data" / "postmaster.pid").read_text().split()[0])
        assert alive(self.agent)
        assert alive(self.server)

    def ended(self) -> None:
        """Wait until neither agent nor server is left."""
        self.make.wait()
        eventually(lambda: not alive(self.agent) and not alive(self.server))
        assert "Traceback" not in self._output.read_text()

    def reset(self) -> "subprocess.CompletedProcess[str]":
        """Run `make reset STORE=postgres`."""
        return subprocess.run([*SCRIPT, "reset"], cwd=self._folder, capture_output=True, text=True, check=False)

    def end(self) -> None:
        """End what is left of it after a failed test."""
        if self.make.poll() is None:
            os.killpg(self.make.pid, signal.SIGKILL)
        self.make.wait()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, because the path of a Unix socket is limited."""
    with tempfile.TemporaryDirectory(prefix="aa-demo-") as name:
        yield Path(name)


@pytest.fixture
def demo(short: Path) -> Iterator[Demo]:
    """A demo with the example requests."""
    try:
        binaries()
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))
    for name in ("specs", "images"):
        shutil.copytree(ROOT / name, short / name)
    one = Demo(short)
    yield one
    one.end()


def test_the_server_ends_with_the_demo_and_the_next_one_continues(demo: Demo, short: Path) -> None:
    demo.start()
    key = (short / "state" / "postgres" / "agent.key").read_text()
    refused = demo.reset()
    assert f"is running: process {demo.agent}. Try:" in refused.stderr
    os.killpg(demo.make.pid, signal.SIGINT)  # Ctrl-C
    demo.ended()

    demo.start()
    os.kill(demo.agent, signal.SIGKILL)
    demo.ended()

    demo.start()  # it waits for the server of the killed demo
    demo.make.kill()
    demo.ended()

    demo.start()
    os.kill(demo.agent, signal.SIGTERM)
    demo.ended()
    assert (short / "state" / "postgres" / "agent.key").read_text() == key
    assert demo.reset().returncode == 0
    assert not (short / "state" / "postgres").exists()
    assert "There is no demo database" in demo.reset().stderr
