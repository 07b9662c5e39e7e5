"""The installed command, and the sandbox in a process of its own."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

PROMPT = {"POLL_INTERVAL": "1s", "SCAN_INTERVAL": "500ms"}  # settings of an agent in real time
COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]


def command(mutation: str | None) -> list[str]:
    """The installed command, broken by this mutation."""
    if mutation is None:
        return COMMAND
    lines = ("from agent.cli import main", "from verification.mutations import mutated", f"with mutated({mutation!r}):")
    return [sys.executable, "-c", "\n".join((*lines, "    main()"))]


@contextlib.contextmanager
def simulated(options: Mapping[str, str]) -> Iterator[str]:
    """Run the sandbox in its own process and yield its URL. An empty value makes a flag."""
    arguments = [part for name, value in options.items() for part in (f"--{name}", value) if part]
    with subprocess.Popen([*COMMAND, "sandbox", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(timeout=60)


def ledger_at(url: str) -> dict[str, Any]:
    """The ledger of the simulated Assure at this URL."""
    with urllib.request.urlopen(url + "/sandbox/ledger") as answer:
        report: dict[str, Any] = json.load(answer)
    return report
