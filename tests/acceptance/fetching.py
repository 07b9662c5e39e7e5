"""The agent of an office fetches a repository: the git commands that it starts, and what it has reached."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installed_command import Office
from tests.support.timeouts import eventually


class Commands:
    """The git commands that the agent starts. `hang` lets the next fetch wait for ever."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log, self.hang = folder / "git.log", folder / "hang"
        program = folder / "programs/git"
        program.parent.mkdir()
        real = next(path for path in map(Path, os.get_exec_path()) if (path / "git").is_file()) / "git"
        lines = (
            "#!/bin/sh",
            f'printf "%s\\n" "$$ $*" >> {self._log}',
            f'case " $* " in *" fetch "*) test ! -e {self.hang} || exec sleep 100000;; esac',
            f'exec {real} "$@"',
        )
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def lines(self) -> list[str]:
        """The commands so far: the process, and the arguments."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def polls(self) -> int:
        """The number of `ls-remote` so far."""
        return sum("ls-remote" in line for line in self.lines())


def done(office: Office, *names: str) -> None:
    """Return when exactly these requests exist and are done."""

    def states() -> dict[str, Any]:
        return {name: item["state"] for name, item in office.seen().items()}

    eventually(lambda: states() == dict.fromkeys(names, "done"), lambda: (states(), office.git_source()))


def shows(office: Office, **expected: Any) -> None:
    """Return when the git source has these columns in the store."""
    eventually(lambda: office.git_source().items() >= expected.items(), office.git_source)


def started(office: Office) -> int:
    return sum(process["starts"] for process in office.processes())
