"""Settings of an agent that works in one folder against a sandbox."""

import os
from pathlib import Path
from typing import Any

CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}  # the credentials that the sandbox accepts


def settings(folder: Path, url: str, **others: Any) -> dict[str, Any]:
    """Settings by name: `specs/`, `images/` and `state/` in this folder, Assure at this URL, any free port.

    With `source_url`, that repository takes the place of `specs/`.
    """
    specs = {} if others.get("source_url") else {"specs_dir": folder / "specs"}
    return {
        "base_url": url,
        **CLIENT,
        **specs,
        "images_dir": folder / "images",
        "state_url": f"sqlite:///{folder}/state/agent.db",
        "listen": "127.0.0.1:0",
        **others,
    }


def environment(folder: Path, url: str, **others: str) -> dict[str, str]:
    """The same settings as environment variables. Settings in the environment of this process are left out."""
    given = settings(folder, url, **{name.lower(): value for name, value in others.items()})
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASSURE_AGENT_")}
    return inherited | {f"ASSURE_AGENT_{name.upper()}": str(value) for name, value in given.items()}
