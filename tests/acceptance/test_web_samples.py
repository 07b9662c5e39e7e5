"""The sample applications in `examples/` verify a customer with the agent and the sandbox, as their own processes."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.acceptance.installed_command import Office
from tests.acceptance.test_third_party import person
from tests.support.timeouts import PATIENT, eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPRESS = EXAMPLES / "express"
TOKEN, SECRET = "a-token-of-the-api-0123456789abcdef", "a-secret-of-the-sink-0123456789abcdef"

without_express = pytest.mark.skipif(
    shutil.which("node") is None or not (EXPRESS / "node_modules/express").is_dir(),
    reason="needs node, and `npm install` in examples/express",
)
SAMPLES = [
    pytest.param([sys.executable, str(EXAMPLES / "flask/app.py")], id="flask"),
    pytest.param(["node", str(EXPRESS / "app.js")], id="express", marks=without_express),
]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Sample:
    """A running sample application and the agent that it uses."""

    http: httpx.Client
    office: Office

    def answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/returned/nobody").status_code == 200
        return False

    def link(self, name: str) -> str | None:
        """The address to which the application sends the end user."""
        answer = self.http.get(f"/verifications/{name}")
        return answer.headers.get("location") if answer.status_code == 303 else None


@pytest.fixture
def sample(request: pytest.FixtureRequest, office: Office, tmp_path: Path) -> Iterator[Sample]:
    """The application of the parameter, with an agent that sends events to it."""
    port, listen = free_port(), f"127.0.0.1:{free_port()}"
    url = f"http://127.0.0.1:{port}"
    office.settings = {"LISTEN": listen, "API_TOKEN": TOKEN, "SINK_URLS": f"{url}/events", "SINK_SECRET": SECRET}
    environment = {
        **os.environ,
        "PORT": str(port),
        "AGENT_URL": f"http://{listen}",
        "API_TOKEN": TOKEN,
        "SINK_SECRET": SECRET,
        "SPECS_DIR": str(office.folder / "specs"),
    }
    with (
        (tmp_path / "sample.log").open("w") as log,
        subprocess.Popen(request.param, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=url, trust_env=False, timeout=PATIENT) as http,
    ):
        try:
            sample = Sample(http, office)
            eventually(sample.answers, (tmp_path / "sample.log").read_text)
            with office.running():
                yield sample
        finally:
            process.terminate()


@pytest.mark.sandbox(interactive="", delay="200ms")
@pytest.mark.parametrize("sample", SAMPLES, indirect=True)
def test_a_sample_verifies_a_customer(sample: Sample) -> None:
    """File, link, capture page, return, signed event."""
    name = sample.http.post("/verifications").json()["name"]
    assert sample.http.get(f"/verifications/{name}").status_code in (202, 303)
    links: list[str] = []
    eventually(lambda: links.extend(filter(None, [sample.link(name)])) or links)
    person(links[0], "accepted")
    eventually(lambda: sample.http.get(f"/returned/{name}").json()["outcome"] == "accepted")
    assert [path.name for path in (sample.office.folder / "specs").iterdir()] == [f"{name}.yaml"]


@pytest.mark.parametrize("sample", SAMPLES, indirect=True)
def test_a_sample_refuses_events_with_a_wrong_signature(sample: Sample) -> None:
    body = json.dumps(
        {"id": "e-1", "type": "example.assure-agent.settled", "data": {"name": "a", "outcome": "accepted"}}
    )
    headers = {
        "content-type": "application/cloudevents+json",
        "webhook-id": "e-1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1,AAAA v1,",
    }
    assert sample.http.post("/events", content=body, headers=headers).status_code == 401
    assert sample.http.post("/events", content=body).status_code == 401
    assert sample.http.get("/returned/a").json()["outcome"] is None
