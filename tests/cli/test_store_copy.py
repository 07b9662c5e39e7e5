"""`store copy`, `backup` and `restore`: what they refuse, and the name of the right command."""

import contextlib
import os
import pty
import subprocess

import pytest

from tests.cli.command_runner import COMMAND, Here
from tests.support.postgres_server import database, empty_database, postgres_server

__all__ = ["database", "empty_database", "postgres_server"]
DATABASE = "postgresql://agent@/agent?host=/tmp/nowhere"


@pytest.mark.parametrize(
    ("source", "target", "parts"),
    [
        (DATABASE, DATABASE, ("both name a database", "pg_dump")),
        ("sqlite:///a.db", "sqlite:///b.db", ("both name a state file", "assure-agent backup")),
        ("a.db", DATABASE, ("SRC: expected sqlite:///",)),
        ("sqlite:///a.db", "mysql://x", ("DST: expected",)),
    ],
)
def test_two_urls_that_cannot_be_copied(here: Here, source: str, target: str, parts: tuple[str, ...]) -> None:
    here("store", "copy", source, target).is_one_clear_error(*parts, code=2)


def test_a_server_that_cannot_be_reached_leaves_the_source(here: Here) -> None:
    assert here("run", "--sandbox", "--once", STATE_URL="sqlite:///state/agent.db").code == 0
    said = here("store", "copy", "sqlite:///state/agent.db", DATABASE)
    said.is_one_clear_error("cannot be reached")
    assert (here.folder / "state/agent.db").exists()
    here("store", "copy", "sqlite:///state/none.db", DATABASE).is_one_clear_error("cannot be reached")


@pytest.mark.parametrize(
    ("command", "hint"), [(("backup", "x"), "pg_dump"), (("restore", "x", "--yes"), "same STATE_DIR")]
)
def test_the_backup_of_a_database_is_that_of_its_server(here: Here, command: tuple[str, ...], hint: str) -> None:
    here(*command, STATE_URL=DATABASE).is_one_clear_error("STATE_URL names a database", hint, code=2)


def test_a_demo_moves_to_a_database_and_back(here: Here, empty_database: str) -> None:
    file = "sqlite:///state/agent.db"
    assert here("init").code == 0
    assert here("run", "--sandbox", "--once", STATE_URL=file).code == 0
    moved = here("store", "copy", file, empty_database)
    assert moved.code == 0, moved
    assert moved.out.startswith("copied 7 requests and ")
    assert moved.out.splitlines()[-1] == f"set ASSURE_AGENT_STATE_URL={empty_database} and start the agent"
    assert moved.err == ""  # the progress is for terminals
    here("store", "copy", file, empty_database).is_one_clear_error("There is no state file at state/agent.db")
    here("run", "--sandbox", "--once", STATE_URL=file).is_one_clear_error("was copied to", "set STATE_URL to")
    assert here("run", "--sandbox", "--once", STATE_URL=empty_database).code == 0
    assert here("store", "copy", empty_database, file).code == 0
    compared = here("store", "copy", "--verify-only", empty_database, file)
    assert (compared.code, compared.out.partition(",")[0]) == (0, "both stores are equal")
    assert here("run", "--sandbox", "--once", STATE_URL=file).code == 0
    assert here("audit", "verify", STATE_URL=file).code == 0
    compared = here("store", "copy", "--verify-only", empty_database, file)
    assert (compared.code, "sources: rows differ" in compared.out) == (1, True), compared


def test_a_terminal_shows_the_progress(here: Here, empty_database: str) -> None:
    """On stderr, so that the result can be piped."""
    assert here("init").code == 0
    assert here("run", "--sandbox", "--once", STATE_URL="sqlite:///state/agent.db").code == 0
    terminal, stderr = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100"}
    command = [*COMMAND, "store", "copy", "sqlite:///state/agent.db", empty_database]
    done = subprocess.run(command, cwd=here.folder, env=environment, stdout=subprocess.PIPE, stderr=stderr, check=True)
    os.close(stderr)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    for step in (b"verifying the source", b"copying", b"verifying the copy", b"100 %"):
        assert step in shown
    assert done.stdout.startswith(b"copied 7 requests")
