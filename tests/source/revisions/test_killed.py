"""kill -9 at every step of fetch, export and swap: no half revision is ever scanned, and the next start goes on.

A child process is killed at the nth change that it makes to the file system, or with the nth git command that it
starts, for every n until it completes. A file is half written when the process ends.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.platform.settings import Settings
from agent.source.revisions.git_source import GitSource
from tests.source.revisions.repositories import Files, Link, Upstream, contents
from verification.builders.request_files import upload
from verification.builders.settings import settings

_CHANGES = ("mkdir", "open", "write", "link", "symlink", "unlink", "rmdir", "rename", "replace")
_MOST_STEPS = 1000


class Killer:
    """Kills this process at a step."""

    def __init__(self, step: int) -> None:
        self._left = step

    def arm(self) -> None:
        """Count from now on."""
        for name in _CHANGES:
            setattr(os, name, self._counted(name, getattr(os, name)))
        start = subprocess.Popen.__init__

        def started(process: Any, *arguments: Any, **options: Any) -> None:
            self._step()
            start(process, *arguments, **options)
            self._step()

        subprocess.Popen.__init__ = started  # type: ignore[method-assign]

    def _counted(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return original(*arguments, **options)
            if name == "write" and self._left == 1:
                original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            self._step()
            return original(*arguments, **options)

        return counted

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(step: int, configured: Settings, acted: str | None) -> bool:
    """Refresh in a child process; False if it completed before the step."""
    child = os.fork()
    if child == 0:
        try:
            Killer(step).arm()
            found = GitSource.of(configured).refresh(acted, None)
            os._exit(0 if found.failure is None and found.published else 3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def request(name: str) -> bytes:
    return upload(name).encode()


FIRST: Files = {
    b"a.yaml": request("a"),
    b"b/c.yaml": request("c"),
    b"b/d.yaml": request("d"),
    b".e/f.yaml": request("f"),
    b"g": Link(b".e"),
    b"h.yaml~": b"",
}
SECOND: Files = {b"a.yaml": request("a2"), b"b": Link(b".e"), b".e/f.yaml": request("f"), b"c/d.yaml": request("d")}
THIRD: Files = {b"a.yaml": request("a3"), b"b/c.yaml": request("c"), b"c/d.yaml": request("d")}


def exported(files: Files) -> Mapping[bytes, object]:
    """The exported folder of these files."""
    folders = {path.rpartition(b"/")[0]: None for path in files if b"/" in path}
    return {**folders, **files}


@pytest.mark.parametrize("before", [[], [FIRST], [FIRST, SECOND]], ids=["first", "second", "third"])
def test_a_killed_refresh_is_repeated(tmp_path: Path, before: list[Files]) -> None:
    upstream = Upstream(tmp_path / "upstream.git")
    wanted: dict[str, Mapping[bytes, object]] = {}
    acted = None
    (tmp_path / "saved/state").mkdir(parents=True)
    given = settings(tmp_path / "saved", "http://127.0.0.1:9", source_url=upstream.url)
    source = GitSource.of(Settings(**given))
    for files in before:
        acted = upstream.push(files)
        wanted[acted] = exported(files)
        assert source.refresh(acted, None).published
    new = [FIRST, SECOND, THIRD][len(before)]
    head = upstream.push(new)
    wanted[head] = exported(new)
    home = tmp_path / "saved/state/agent.source"
    if not before:
        home.mkdir()

    ended = set()
    for step in range(1, _MOST_STEPS):
        folder = tmp_path / f"{step}"
        (folder / "state").mkdir(parents=True)
        subprocess.run(["cp", "-a", home, folder / "state"], check=True)  # hard links as they are
        configured = Settings(**settings(folder, "http://127.0.0.1:9", source_url=upstream.url))
        again = killed_at(step, configured, acted)
        ended.add(check(configured, wanted, acted, head))
        shutil.rmtree(folder)
        if not again:
            break
    assert again is False
    assert step > 50
    assert ended == {acted, head}  # it was killed before the swap, and after it


def check(
    configured: Settings, wanted: Mapping[str, Mapping[bytes, object]], acted: str | None, head: str
) -> str | None:
    """A whole revision is there now, and the next process goes on; the revision that was there."""
    current = configured.requests_dir
    found = current.readlink().name if current.is_symlink() else None
    for folder in current.parent.glob("[0-9a-f]*"):
        if len(commit := folder.name.removesuffix(".spare")) == 40:
            assert contents(folder) == wanted[commit]  # no name of a revision is on a half written folder
    source = GitSource.of(configured)
    assert source.scan().error is not None  # it is not verified yet

    refreshed = source.refresh(acted, None)

    assert (refreshed.head, refreshed.failure, refreshed.refused) == (head, None, None)
    scan = source.scan()
    assert scan.revision is not None
    assert scan.revision.commit == head
    assert scan.proves_absence
    assert contents(current) == wanted[head]
    assert not [name for name in os.listdir(current.parent) if name.startswith(".")]  # noqa: PTH208
    return found
