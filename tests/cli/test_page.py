"""`page`, and where `run` prints a link to the status page (issue 13.4)."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from agent.sandbox import SandboxServer
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn, wait_for
from tests.support.timeouts import PATIENT


def opens(link: str) -> int:
    """The status with which a new browser arrives at the page."""
    with httpx.Client(trust_env=False, timeout=PATIENT, follow_redirects=True) as client:
        answer = client.get(link)
        assert "code=" not in str(answer.url) or answer.status_code != 200
        return answer.status_code


def until(condition: Callable[[], bool]) -> None:
    """Wait until another process fulfils the condition."""
    end = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def running(here: Here, *arguments: str, **env: str) -> Iterator["subprocess.Popen[str]"]:
    """An agent in another process, which is killed if the test fails."""
    process = spawn(here.folder, "run", *FREE_PORT, *arguments, **env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_demo_prints_a_link_that_works_once_and_the_command_for_another(here: Here) -> None:
    with running(here, "--sandbox", POLL_INTERVAL="1s") as process:
        link = wait_for(process, "status page: ").split()[-1]
        assert "assure-agent page" in wait_for(process, "works once")
        assert (opens(link), opens(link)) == (200, 403)
        another = here("page")
        assert another.code == 0
        assert opens(another.out.strip()) == 200
        (reported,) = here("audit", "query", "operator-commands", "command=page", "-o", "json").json["items"]
        assert reported["sender"]
        assert finish(process, signal.SIGINT).code == 0


def test_a_link_is_in_neither_log_nor_store(here: Here, remote: SandboxServer) -> None:
    settings = {"BASE_URL": remote.url, "CLIENT_ID": "sandbox-client", "CLIENT_SECRET": "sandbox-secret"}
    with running(here, LOG_FORMAT="json", LOG_LEVEL="debug", **settings) as process:
        until(lambda: here("page").code == 0)
        links = [here("page").out.strip() for _ in range(2)]
        assert [opens(link) for link in links] == [200, 200]
        said = finish(process, signal.SIGTERM)
        assert said.code == 0
        assert "created a link to the status page" in said.err + said.out
        codes = [re.search(r"code=([\w-]{22})$", link) for link in links]
        for code in codes:
            assert code is not None
            assert code[1] not in said.err + said.out
            for file in (here.folder / "state").rglob("*"):
                assert file.is_dir() or code[1].encode() not in file.read_bytes()


def test_the_link_of_a_wildcard_address_can_be_opened(here: Here) -> None:
    with running(here, "--sandbox", "--listen", "0.0.0.0:0") as process:
        link = wait_for(process, "status page: ").split()[-1]
        assert link.startswith("http://127.0.0.1:")
        assert opens(link) == 200
        assert finish(process, signal.SIGINT).code == 0


def test_without_an_agent_there_is_no_link(here: Here) -> None:
    here("page").is_one_clear_error("No agent is running on the state file state/agent.db", "assure-agent run")
    here("page", "--state-url", "sqlite:///no/such.db").is_one_clear_error("no/such.db")
    assert not (here.folder / "state").exists(), "the command creates no file"
