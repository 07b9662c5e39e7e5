"""Tests of your own against the sandbox: the installed command, real files, and Assure's view of the calls.

    pip install pytest
    pytest test_with_the_sandbox.py

Copy this file. `assure-agent` must be on the PATH.
"""

import base64
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CLIENT = {"ASSURE_AGENT_CLIENT_ID": "sandbox-client", "ASSURE_AGENT_CLIENT_SECRET": "sandbox-secret"}


@dataclass
class Sandbox:
    """A running sandbox, and a folder for an agent."""

    url: str
    folder: Path

    def verify(self, name: str, front: bytes) -> str:
        """Write a request with this picture, run the agent until it is settled, and return its outcome."""
        (self.folder / "images" / f"{name}.png").write_bytes(front)
        spec = {"processType": "document", "upload": {"documentId": 137, "images": {"front": f"{name}.png"}}}
        kind = {"apiVersion": "assure-agent/v1", "kind": "VerificationRequest"}
        document = {**kind, "metadata": {"name": name}, "spec": spec}
        (self.folder / "specs" / f"{name}.yaml").write_text(json.dumps(document))
        self.agent("run", "--once")
        (item,) = json.loads(self.agent("get", name, "-o", "json"))["items"]
        return str(item["outcome"])

    def agent(self, *arguments: str) -> str:
        """The output of a command."""
        environment = {**os.environ, **CLIENT, "ASSURE_AGENT_BASE_URL": self.url, "ASSURE_AGENT_LISTEN": "127.0.0.1:0"}
        command = ["assure-agent", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, check=True, text=True, stdout=-1).stdout

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Steer the sandbox."""
        content = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, content, method=method)) as answer:
            return json.load(answer)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox on a free port. It prints its URL when it is ready."""
    for name in ("specs", "images"):
        (tmp_path / name).mkdir()
    command = ["assure-agent", "sandbox", "--delay", "10ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sandbox(process.stdout.readline().strip(), tmp_path)
        finally:
            process.terminate()


PNG = base64.b64decode(  # one pixel; the sandbox only searches for its markers
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_the_picture_chooses_the_outcome(sandbox: Sandbox) -> None:
    assert sandbox.verify("customer-1", PNG) == "accepted"
    assert sandbox.verify("customer-2", PNG + b"sandbox-outcome=rejected") == "rejected"


def test_a_lost_answer_bills_nothing_twice(sandbox: Sandbox) -> None:
    sandbox.call("POST", "/sandbox/faults", [{"operation": "startVerification", "kind": "reset-after", "nth": 1}])
    assert sandbox.verify("customer-1", PNG) == "accepted"
    ledger = sandbox.call("GET", "/sandbox/ledger")
    assert [process["starts"] for dossier in ledger["dossiers"] for process in dossier["processes"]] == [1]
    assert [dossier["deletedAt"] is not None for dossier in ledger["dossiers"]] == [True]
    assert ledger["violations"] == []
