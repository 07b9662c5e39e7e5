"""Every operator command is recorded with its sender: in the log, the metrics and the audit log."""

import os
import pwd
import socket
from signal import SIGTERM
from urllib.request import urlopen

import orjson

from agent.daemon.control_socket import short_socket_path
from agent.daemon.peer_credentials import account_of_process
from tests.cli.command_runner import FREE_PORT, Here, finish, spawn, wait_for
from tests.support.stores import records
from tests.support.timeouts import eventually
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write

from .test_run import FAST

US = f"{pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"


def logged(err: str, event: str) -> list[dict[str, object]]:
    return [line for line in map(orjson.loads, err.splitlines()) if line["event"] == event]


def test_sender_and_command_are_in_log_metrics_and_audit(here: Here) -> None:
    """[I5] The kernel reports the sender; a claim of the client is ignored."""
    write(here.folder / "images/slow.jpg", jpeg("sandbox-delay=10m"))
    write(here.folder / "specs/held.yaml", upload("held", {"front": "front.jpg"}, document_id=4))
    process = spawn(here.folder, "run", "--sandbox", *FREE_PORT, **FAST, LOG_FORMAT="json", LOG_LEVEL="info")
    try:
        url = wait_for(process, "metrics: ").split()[-1]

        def paused() -> bool:
            return b"\nassure_agent_paused 1.0" in urlopen(url).read()

        state = here.folder / "state/sandbox/agent.db"
        eventually(lambda: [one.hold is not None for one in records(state).values()] == [True])
        assert not paused()
        assert here("pause").code == 0
        assert paused()
        assert here("resume").code == 0
        assert not paused()
        assert here("resolve", "held", "abandon").code == 0
        assert here("pause").code == 0
    finally:
        said = finish(process, SIGTERM)
    uid = here("get", "held", "-o", "json").json["items"][0]["uid"]
    commands = [(line["level"], line["command"], line.get("uid")) for line in logged(said.err, "command")]
    assert commands == [
        ("warning", "pause", None),
        ("info", "resume", None),
        ("info", "resolve", uid),
        ("warning", "pause", None),
    ]
    assert {str(line["sender"]).split(",")[0] for line in logged(said.err, "command")} == {US}
    assert [line["level"] for line in logged(said.err, "held")] == ["warning"]
    assert here("resume").code == 0  # while no agent runs
    rows = here("audit", "query", "operator-commands", "-o", "json").json["items"]
    assert [(row["command"], row["name"]) for row in rows] == [
        ("pause", None),
        ("resume", None),
        ("resolve", "held"),
        ("pause", None),
        ("resume", None),
    ]
    assert {row["sender"].split(",")[0] for row in rows} == {US}


def test_an_agent_that_starts_paused_logs_it(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    assert finish(spawn(here.folder, "run", "--sandbox", "--once", *FREE_PORT, **FAST)).code == 0
    assert here("pause").code == 0
    said = finish(spawn(here.folder, "run", "--sandbox", "--once", *FREE_PORT, **FAST, LOG_FORMAT="json"))
    (line,) = logged(said.err, "paused")
    assert (line["level"], line["hint"]) == ("warning", "the agent starts nothing new before `assure-agent resume`")


def test_an_account_without_a_name_or_of_another_namespace() -> None:
    assert account_of_process(54321, os.getpid()).startswith("uid 54321")
    assert account_of_process(65534, os.getpid()) == "an account outside of the agent's user namespace (uid 65534)"


def test_a_client_cannot_claim_to_be_another_account(here: Here) -> None:
    """[I5] The kernel reports the account."""
    process = spawn(here.folder, "run", "--sandbox", *FREE_PORT, **FAST)
    try:
        wait_for(process, "metrics: ")
        with socket.socket(socket.AF_UNIX) as client:
            with short_socket_path(here.folder / "state/sandbox/agent.db.sock") as name:
                client.connect(name)
            client.sendall(b'{"id": "a-command", "verb": "pause", "sender": "mallory (uid 1)"}\n')
            assert b'"ok":true' in client.recv(999)
        rows = here("audit", "query", "operator-commands", "-o", "json").json["items"]
        assert [row["sender"].split(",")[0] for row in rows] == [US]
    finally:
        finish(process, SIGTERM)
