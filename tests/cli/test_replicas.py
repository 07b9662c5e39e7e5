"""Commands from anywhere, while two replicas work on one database."""

import contextlib
import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.sandbox import SandboxServer
from tests.cli.command_runner import Here, finish, spawn
from tests.support.module_databases import databases
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.timeouts import eventually
from verification.builders.request_files import upload, write

__all__ = ["postgres_server"]

TOKEN = "the token of the tests, which is long enough"


@dataclass
class Replica:
    """A process with a state folder of its own."""

    process: "subprocess.Popen[str]"
    url: str

    def figure(self, name: str) -> float:
        """The value of a metric without labels."""
        text = self.read("metrics")
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"assure_agent_{name} ")))

    def log_line(self, part: str) -> str:
        """The next line of the log that contains this."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if part in line)

    def read(self, path: str) -> str:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request) as answer:
            return str(answer.read().decode())


@pytest.fixture
def elsewhere(here: Here, remote: SandboxServer, postgres_server: PostgresServer) -> Iterator[Here]:
    """The commands on a database, in a state folder where no agent runs."""
    with databases(postgres_server, "template0") as url:
        here.env |= {
            "BASE_URL": remote.url,
            "STATE_URL": url,
            "STATE_DIR": str(here.folder / "elsewhere"),
            "KEY_FILE": str(here.folder / "agent.key"),
            "API_TOKEN": TOKEN,
            "SCAN_INTERVAL": "1s",
        }
        yield here


@contextlib.contextmanager
def replica(here: Here, name: str) -> Iterator[Replica]:
    """`assure-agent run`, as on another host: it shares the database and the key."""
    process = spawn(here.folder, "run", **{**here.env, "STATE_DIR": str(here.folder / name), "LOG_FORMAT": "json"})
    try:
        found = Replica(process, "")
        found.url = json.loads(found.log_line('"started"'))["address"].rstrip("/") + "/"
        yield found
    finally:
        assert finish(process, signal.SIGTERM).code == 0


def test_a_command_reaches_every_replica_from_anywhere(elsewhere: Here) -> None:
    here = elsewhere
    with replica(here, "one") as one, replica(here, "two") as two:
        eventually(lambda: one.figure("replicas") == two.figure("replicas") == 2)
        listed = here("store", "replicas", "-o", "json").json
        assert [process["kind"] for process in listed] == ["replica", "replica"]
        assert {process["name"].split(":")[1] for process in listed} == {
            str(one.process.pid),
            str(two.process.pid),
        }
        assert [process["turns"] for process in listed].count([]) == 1
        table = here("store", "replicas").out
        assert str(one.process.pid) in table and "source/" in table

        assert here("pause").out.startswith("paused")
        eventually(lambda: all("The agent is paused" in each.read("") for each in (one, two)))
        assert one.read("").count("serves this page") == 1
        write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
        eventually(lambda: "\na " in here("get").out or here("get").out.startswith("a "))
        assert "dossier" in here("get", "a").out
        assert here("resume").out.startswith("resumed")
        assert here("wait", "a").code == 0
        eventually(lambda: " done " in here("get", "a").out)
        assert not list((here.folder / "elsewhere").glob("*.sock"))
        shown = one.read("api/replicas")
        assert shown.count('"answers":true') == 1
        assert shown.count('"answers":false') == 1
    assert here("store", "replicas").out.startswith("No agent is running")
    assert here("forget", "a", "--yes").code == 1  # its file exists
    shutil.rmtree(here.folder / "elsewhere")
    assert here("pause").code == 0  # also from a host without a state folder
