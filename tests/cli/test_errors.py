"""Errors of commands: one line with the cause and the remedy, and no traceback."""

import contextlib
import json
import re
import signal
from pathlib import Path

import pytest

from agent.daemon import startup
from agent.sandbox import SandboxServer
from agent.store.sqlite.connection import sqlite3
from tests.cli.command_runner import FREE_PORT, CommandResult, Here, finish, spawn, wait_for
from tests.support.timeouts import eventually
from verification.builders.request_files import upload, write

ONCE = ("run", "--once", *FREE_PORT)


@pytest.fixture
def settled(here: Here, remote: SandboxServer) -> Here:
    """A command whose store belongs to the sandbox and has one settled request."""
    here.env |= {"BASE_URL": remote.url, "POLL_INTERVAL": "1s"}
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    said = here(*ONCE)
    assert said.code == 0, said
    return here


def test_wrong_credentials(here: Here, remote: SandboxServer) -> None:
    said = here(*ONCE, BASE_URL=remote.url, CLIENT_SECRET="not-the-secret")
    said.is_one_clear_error("client id and secret", "CLIENT_SECRET")
    assert "not-the-secret" not in said.err + said.out
    assert remote.ledger.dossiers == {}


def test_no_credentials(here: Here) -> None:
    here.env.clear()
    here(*ONCE).is_one_clear_error("CLIENT_ID", "run --sandbox")
    assert not (here.folder / "state").exists()


def test_a_base_url_without_a_server(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "MAX_ATTEMPTS", 1)
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    here(*ONCE, BASE_URL="http://127.0.0.1:9").is_one_clear_error("http://127.0.0.1:9", "all requests are stored")
    assert [item["phase"] for item in here("get", "-o", "json").json["items"]] == ["dossier"]


def test_a_plain_http_base_url(here: Here) -> None:
    here(*ONCE, BASE_URL="http://api.signicat.com").is_one_clear_error("BASE_URL", "expected https")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("POLL_INTERVAL", "often", "duration"),
        ("CONCURRENCY", "0", "from 1 to 1000"),
        ("MAX_IMAGE_BYTES", "10 apples", "size"),
        ("STATE_URL", "postgres://x", "postgresql://USER@HOST/DATABASE"),
        ("LISTEN", "nowhere", "HOST:PORT"),
        ("LOG_LEVEL", "loud", "debug"),
        ("AGENT_ID", "Not An Id", "small letters"),
        ("BASE_URL", "https://user:secret@api.signicat.com", "user info"),
        ("CLIENT_SECRET_FILE", "no/such/file", "CLIENT_SECRET_FILE"),
    ],
)
def test_an_invalid_setting_is_named(here: Here, name: str, value: str, words: str) -> None:
    given = {name: value} | ({"CLIENT_SECRET": ""} if name == "CLIENT_SECRET_FILE" else {})
    said = here("run", "--once", **given)
    said.is_one_clear_error(name, words)
    assert "secret" not in said.err.replace("CLIENT_SECRET_FILE", "").lower()


def test_a_state_folder_that_cannot_be_written(here: Here) -> None:
    write(here.folder / "file", "not a folder")
    said = here(*ONCE, "--state-url", f"sqlite:///{here.folder}/file/state/agent.db", BASE_URL="http://127.0.0.1:9")
    said.is_one_clear_error("file/state", "STATE_URL")


@pytest.mark.parametrize("command", [ONCE, ("get",), ("audit", "verify")], ids=["run", "get", "audit verify"])
def test_a_file_that_is_not_a_store(here: Here, command: tuple[str, ...]) -> None:
    write(here.folder / "state/agent.db", b"this is not a database" * 100)
    here(*command, BASE_URL="http://127.0.0.1:9").is_one_clear_error("state/agent.db", "backup")


READERS = (
    ("get",),
    ("get", "a", "-o", "json"),
    ("explain", "a"),
    ("describe", "a", "--remote"),
    ("plan",),
    ("wait", "a"),
    ("audit", "log", "a"),
    ("audit", "verify"),
    ("audit", "query", "who-asked"),
    ("audit", "export"),
    ("audit", "certificate", "a"),
)


@pytest.mark.parametrize("table", ["requests", "events"])
def test_a_state_file_with_a_damaged_page(settled: Here, table: str) -> None:
    path = settled.folder / "state/agent.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    needs_events = {"log", "verify", "export", "certificate"}
    for command in READERS:
        if table == "requests" or needs_events & set(command):
            settled(*command).is_one_clear_error("state/agent.db", "damaged", "backup")
    assert "damaged" in settled("doctor", "--offline").out


def test_a_record_that_cannot_be_read(settled: Here) -> None:
    """[I6] The error does not quote the record."""
    with contextlib.closing(sqlite3.connect(settled.folder / "state/agent.db")) as connection, connection:
        connection.execute("UPDATE requests SET record = json_set(record, '$.phase', 'jane')")
    said = settled("get")
    said.is_one_clear_error("damaged", "malformed record", "backup")
    assert "jane" not in said.err


def test_a_state_file_of_another_account(settled: Here) -> None:
    said = settled(*ONCE, CLIENT_ID="another-client")
    said.is_one_clear_error("another Assure account", "another-client", "STATE_URL")


def test_a_port_that_is_in_use(settled: Here, remote: SandboxServer) -> None:
    port = remote.url.rpartition(":")[2]
    settled("run", "--once", "--listen", f"127.0.0.1:{port}").is_one_clear_error("LISTEN", port, "--listen")


def test_the_sandbox_on_a_port_that_is_in_use(here: Here, remote: SandboxServer) -> None:
    port = remote.url.rpartition(":")[2]
    here("sandbox", "--port", port).is_one_clear_error(port, "--port")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--no-such-option"),
        ("no-such-command",),
        ("explain", "a", "b", "c"),
        ("get", "-o", "xml"),
        ("run", "--once", "--timeout", "soon"),
        ("run", "--timeout", "10m"),
        ("run", "--interactive"),
        ("sandbox", "--delay", "soon"),
        ("sandbox", "--outcomes", "maybe=1"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2_with_a_way_to_help(here: Here, arguments: tuple[str, ...]) -> None:
    said = here(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "Try" in said.err


def test_an_unknown_setting_is_wrong_use(settled: Here) -> None:
    said = settled(*ONCE, POL_INTERVAL="1s")
    said.is_one_clear_error("ASSURE_AGENT_POL_INTERVAL", "Did you mean ASSURE_AGENT_POLL_INTERVAL?", code=2)


def test_a_second_agent_is_refused_at_once_with_the_pid_of_the_first(here: Here, remote: SandboxServer) -> None:
    """[I7]"""
    env = here.env | {"BASE_URL": remote.url}
    first = spawn(here.folder, "run", *FREE_PORT, **env)
    try:
        _wait_for_lock(here.folder / "state/agent.db.lock", first.pid)
        said: CommandResult = here(*ONCE, **env)
        said.is_one_clear_error(f"pid {first.pid}", f"kill {first.pid}")
        assert here("get", "-o", "json").code == 0  # reading is always allowed
    finally:
        ended = finish(first, signal.SIGTERM)
    assert ended.code == 0


def test_the_sandbox_prints_its_url_at_once(here: Here) -> None:
    process = spawn(here.folder, "sandbox")
    try:
        url = wait_for(process, "http://").strip()
    finally:
        ended = finish(process, signal.SIGTERM)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert (ended.code, ended.err) == (0, "")


def _wait_for_lock(path: Path, pid: int) -> None:
    eventually(lambda: path.exists() and path.read_text().strip() == str(pid))


@pytest.mark.parametrize("command", ["get", "explain", "describe", "forget", "rerun", "claims"])
def test_an_argument_that_is_not_text(here: Here, command: str) -> None:
    here(command, "\udcff").is_one_clear_error("UTF-8")


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1}', '{"version": 1, "ids_ma'])
def test_an_invalid_file_of_the_sandbox(here: Here, content: str) -> None:
    (here.folder / "state/sandbox").mkdir(parents=True)
    (here.folder / "state/sandbox/sandbox.json").write_text(content)
    here("run", "--sandbox", "--once", *FREE_PORT).is_one_clear_error("sandbox.json", "remove it")
    here("sandbox", "--port", "0", "--persist", "state/sandbox/sandbox.json").is_one_clear_error(
        "sandbox.json", "remove it"
    )


@pytest.mark.parametrize("command", [("get",), ("plan",), ("audit", "verify"), ("explain", "a")])
def test_an_empty_state_file(here: Here, command: tuple[str, ...]) -> None:
    (here.folder / "state").mkdir()
    (here.folder / "state/agent.db").touch()
    here(*command).is_one_clear_error("agent.db", "is empty", "backup")


def test_a_wrong_option_of_run_is_reported_as_json(here: Here) -> None:
    said = here("run", "--timeout", "5s", LOG_FORMAT="json")
    line = json.loads(said.err.splitlines()[-1])
    assert (said.code, line["event"], line["error"]) == (2, "ended", "--timeout has no effect without --once.")
