"""An agent on PostgreSQL whose server crashes, freezes or goes away: it waits, continues, and repeats nothing.

[I2, I4, I5, I9] The ledger of the sandbox is the witness.
"""

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.installed_command import Office
from tests.support.restartable_server import RestartableServer, restartable_server
from tests.support.timeouts import PATIENT, eventually
from verification.processes import COMMAND

TOKEN = "a token of the API"
pytestmark = pytest.mark.state_file  # and then on a server of its own, which a test may crash
AWAY, BACK = "the database does not answer", "the database answers again"


@pytest.fixture
def server() -> Iterator[RestartableServer]:
    """A server of this test alone."""
    with restartable_server() as server:
        yield server


@pytest.fixture
def office(office: Office, server: RestartableServer) -> Office:
    """The office, with its store on the server."""
    office.settings |= {
        "STATE_URL": server.url(),
        "STATE_DIR": str(office.folder / "state"),
        "LISTEN": "127.0.0.1:0",
        "API_TOKEN": TOKEN,
        "LOG_FORMAT": "json",
    }
    return office


def log_lines(office: Office) -> list[dict[str, Any]]:
    """The log of the running agent so far."""
    lines = (office.folder / "agent.platform.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def events(office: Office, event: str) -> int:
    """How often the agent has logged this."""
    return sum(line["event"] == event for line in log_lines(office))


def answer(office: Office, path: str) -> tuple[int, str]:
    """The status and the text of an answer of LISTEN."""
    address = [line["address"] for line in log_lines(office) if line["event"] == "started"][-1]
    asked = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(office: Office) -> bool:
    return events(office, "started") > 0 and answer(office, "/readyz") == (200, "ok\n")


def done(server: RestartableServer) -> int:
    """How many requests are done, as the database says."""
    return int(str(server.rows("SELECT count(*) FROM requests WHERE phase = 'done'")[0][0]))


def settled_once(office: Office, server: RestartableServer, number: int) -> None:
    """Wait until all are done. Each was started once, nothing is left behind, and the journal is whole."""
    eventually(lambda: done(server) == number, lambda: log_lines(office)[-5:])
    assert [process["starts"] for process in office.processes()] == [1] * number
    assert len(office.ledger()["dossiers"]) == number
    assert office.left_behind() == []
    assert office.ledger()["violations"] == []
    gaps = "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM events) AS numbered WHERE id <> n"
    assert server.rows(gaps) == []


@pytest.mark.sandbox(delay="500ms-4s")
def test_a_server_that_crashes_and_returns_costs_nothing(office: Office, server: RestartableServer) -> None:
    for number in range(40):
        office.upload(f"person-{number}")
    with office.running() as agent:
        eventually(lambda: ready(office) and done(server) >= 3)
        for crash in range(3):
            server.crash()
            eventually(lambda: answer(office, "/readyz") == (503, f"{AWAY}\n"))
            assert answer(office, "/healthz") == (200, "ok\n")
            for path in ("/", "/api/requests"):
                status, text = answer(office, path)
                assert (status, "The database does not answer" in text) == (503, True)
            assert office.run("pause") == 1
            assert "cannot be reached: No such file or directory. Try: start the server" in office.output
            status, metrics = answer(office, "/metrics")
            assert (status, "assure_agent_database_away 1.0" in metrics) == (200, True)
            server.start()
            eventually(lambda: ready(office))
            eventually(lambda count=crash + 1: events(office, BACK) == count)  # it follows the answer
            assert events(office, AWAY) == crash + 1
        settled_once(office, server, 40)
        assert "assure_agent_database_away 0.0" in answer(office, "/metrics")[1]
        assert agent.poll() is None
    assert agent.returncode == 0
    assert "Traceback" not in office.output


@pytest.mark.sandbox(delay="500ms-4s")
def test_a_frozen_server_delays_the_agent(office: Office, server: RestartableServer) -> None:
    """Its connections stay open, so only the missing answer shows that it is away."""
    for number in range(20):
        office.upload(f"person-{number}")
    with office.running() as agent:
        eventually(lambda: ready(office) and done(server) >= 1)
        with server.frozen():
            eventually(lambda: answer(office, "/readyz") == (503, f"{AWAY}\n"))
            assert answer(office, "/api/requests")[0] == 503
            assert answer(office, "/")[0] == 503
        eventually(lambda: ready(office))
        settled_once(office, server, 20)
    assert agent.returncode == 0
    assert "Traceback" not in office.output


@pytest.mark.parametrize("frozen", [False, True], ids=["crashed", "frozen"])
def test_an_agent_ends_although_the_server_is_away(office: Office, server: RestartableServer, frozen: bool) -> None:
    office.upload("person")
    with office.running() as agent:
        eventually(lambda: ready(office))
        with server.frozen() if frozen else contextlib.nullcontext(server.crash()):
            eventually(lambda: answer(office, "/readyz")[0] == 503)
            agent.send_signal(signal.SIGTERM)
            agent.wait(PATIENT)
    assert agent.returncode in (0, 1)
    assert "Traceback" not in office.output
    assert "never retrieved" not in office.output


def test_a_killed_agent_is_followed_by_the_next_one(office: Office, server: RestartableServer) -> None:
    """The next one begins at once, and continues the work of the killed one after the end of its lease."""
    office.settings["REPLICA_LEASE"] = "3s"
    office.upload("person")
    with office.running() as agent:
        eventually(lambda: ready(office) and open_requests(server))
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait(PATIENT)
        assert office.run("run", "--once") == 0
    settled_once(office, server, 1)


def test_an_agent_whose_lease_was_removed_begins_a_new_life(office: Office, server: RestartableServer) -> None:
    office.settings["REPLICA_LEASE"] = "3s"
    with office.running() as agent:
        eventually(lambda: ready(office))
        server.rows("DELETE FROM replicas")
        eventually(lambda: events(office, "started") == 2 and ready(office))
        office.upload("person")
        settled_once(office, server, 1)
        assert agent.poll() is None
    assert agent.returncode == 0
    assert "the lease ended" in office.output
    assert "Traceback" not in office.output


def problem(office: Office, **settings: str) -> str:
    """The last line of a start that fails."""
    environment = office.environment | {f"ASSURE_AGENT_{name}": value for name, value in settings.items()}
    ended = subprocess.run([*COMMAND, "run", "--once"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def test_a_database_that_cannot_be_used_is_refused_in_one_line(office: Office, server: RestartableServer) -> None:
    office.settings["LOG_FORMAT"] = "text"
    (office.folder / "keys").mkdir()
    server.rows("CREATE ROLE stranger LOGIN", "CREATE DATABASE other", "CREATE DATABASE newer")
    assert "no such database" in problem(office, STATE_URL=server.url("missing"))
    assert "refused the credentials" in problem(office, STATE_URL=server.url(user="nobody-here"))
    assert "may not do this" in problem(office, STATE_URL=server.url("other", user="stranger"))
    server.rows("CREATE TABLE theirs (x int)", database="other")
    assert "tables of another program" in problem(office, STATE_URL=server.url("other"))
    newer = "CREATE TABLE migrations (name text PRIMARY KEY, functions text[] DEFAULT '{}')"
    server.rows(newer, "INSERT INTO migrations VALUES ('9999_later')", database="newer")
    assert "written by a newer version" in problem(office, STATE_URL=server.url("newer"))
    server.rows("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    assert "accepts writes" in problem(office)
    server.stop()
    assert "cannot be reached" in problem(office)


def test_settings_that_a_database_cannot_have_are_refused(office: Office, server: RestartableServer) -> None:
    office.settings["LOG_FORMAT"] = "text"
    assert "the server makes its backups" in problem(office, BACKUP_DIR=str(office.folder))
    assert "its backups would keep the keys of claims" in problem(office, CLAIMS_KEY="k" * 40)


@pytest.mark.sandbox(delay="2s")
def test_a_run_once_ends_at_its_timeout_although_the_server_is_away(office: Office, server: RestartableServer) -> None:
    office.settings["LOG_FORMAT"] = "text"
    office.upload("person")
    office.source.publish()
    command = [*COMMAND, "run", "--once", "--timeout", "8s"]
    with subprocess.Popen(command, env=office.environment, stderr=subprocess.PIPE, text=True) as running:
        eventually(lambda: server.rows("SELECT to_regclass('requests')") != [(None,)] and open_requests(server))
        server.crash()
        _, said = running.communicate(timeout=PATIENT)
    assert running.returncode == 1
    assert "Try: start the agent again when the database answers." in said.splitlines()[-1]
    assert "Traceback" not in said
    server.start()
    assert office.run("run", "--once") == 0
    settled_once(office, server, 1)


def open_requests(server: RestartableServer) -> int:
    """How many requests are not done."""
    return int(str(server.rows("SELECT count(*) FROM requests WHERE phase <> 'done'")[0][0]))
