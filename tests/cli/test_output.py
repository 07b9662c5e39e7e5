"""Tables are printed without cuts, and the same on a terminal and in a pipe."""

import os
import pty
import re
import subprocess
import sys

import pytest

from agent.cli.output import print_table

COLUMNS = ("name", "outcome")
ROWS = (("a-name-that-is-longer-than-the-terminal-is-wide-" + "x" * 60, "accepted"), ("b", "-"))
SCRIPT = f"from agent.cli.output import print_table; print_table({COLUMNS!r}, {ROWS!r})"


def on_a_terminal(columns: int) -> str:
    """The output on a terminal with this number of columns, without colours."""
    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": str(columns)}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
        assert process.wait() == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side is closed
        return b""


def test_a_narrow_terminal_shows_the_same_lines_as_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)
    piped = capsys.readouterr().out
    assert piped.splitlines()[0].split() == ["NAME", "OUTCOME"]
    assert ROWS[0][0] in piped
    assert on_a_terminal(40) == piped
