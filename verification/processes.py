"""The installed command, and the sandbox in its own process, for proofs with real processes."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]


def environment(folder: Path, url: str, **settings: str) -> dict[str, str]:
    """The environment of an agent on this folder and sandbox, without the settings of the calling shell."""
    given = {
        "BASE_URL": url,
        "CLIENT_ID": "sandbox-client",
        "CLIENT_SECRET": "sandbox-secret",
        "SPECS_DIR": str(folder / "specs"),
        "IMAGES_DIR": str(folder / "images"),
        "STATE_URL": f"sqlite:///{folder}/state/agent.db",
        "LISTEN": "127.0.0.1:0",
        "POLL_INTERVAL": "1s",
        "SCAN_INTERVAL": "500ms",
        **settings,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSURE_AGENT_")}
    return kept | {f"ASSURE_AGENT_{name}": value for name, value in given.items()}


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
