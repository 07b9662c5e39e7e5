import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import SandboxServer
from tests.cli.command_runner import Here, sandbox
from verification.builders.pictures import jpeg
from verification.builders.request_files import write


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in this process, in a folder with an empty source and one image."""
    for name in [name for name in os.environ if name.startswith("ASSURE_AGENT_")]:
        monkeypatch.delenv(name)
    (folder / "specs").mkdir(exist_ok=True)
    write(folder / "images/front.jpg", jpeg("sandbox-delay=10ms"))
    return Here(folder, monkeypatch, capsys)


@pytest.fixture
def remote() -> Iterator[SandboxServer]:
    """A sandbox on a port."""
    with sandbox() as server:
        yield server
