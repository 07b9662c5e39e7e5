"""A repository of many request files as the source: a resync without a new commit, and a commit that changes one file.

Three baselines have the same changes. One writes the file into a folder, one pulls a checkout, one makes a new
checkout of each commit, as git-sync does. `git fast-import` writes the commits, which takes the place of a push.
"""

import hmac
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.platform.settings import Settings
from agent.source.revisions.git_source import GitSource
from agent.store.identity_key import Keys
from bench.command import Running, Workspace, eventually, reference
from bench.process import child, cpu_of_tree, report
from bench.report import Ratio, Scale, Section
from bench.request_files import request
from bench.simulator_process import SimulatorProcess, simulator_process
from verification.builders.settings import settings

_FOLDERS = 100
_SUSPENDED = "  suspend: true\n"  # the request is admitted and causes no call
_RESYNCS = 10
_READS = {"open", "os.scandir", "os.listdir"}  # audit events
_SECRET = "a-secret-of-the-hook"


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A bare repository with a commit of all files."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, count: int) -> "_Upstream":
        one = cls(folder)
        _run("git", "init", "-q", "--bare", "-b", "main", str(folder), at=folder.parent)
        _run("git", "config", "uploadpack.allowFilter", "true", at=folder)
        one.commit({name: request(name) + _SUSPENDED for name in (f"person-{number}" for number in range(count))})
        return one

    def commit(self, files: Mapping[str, str]) -> None:
        """Commit these files, by name of the request, on top of the branch."""
        who = f"A <a@example.test> {int(time.time())} +0000"
        began = (self.folder / "refs/heads/main").exists()
        with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=self.folder, stdin=subprocess.PIPE) as importer:
            assert importer.stdin is not None
            importer.stdin.write(f"commit refs/heads/main\ncommitter {who}\ndata 1\nx\n".encode())
            importer.stdin.write(b"from refs/heads/main^0\n" if began else b"")
            for name, text in files.items():
                importer.stdin.write(f"M 100644 inline specs/{_path(name)}\ndata {len(text)}\n{text}\n".encode())
        assert importer.returncode == 0


def measure(scale: Scale) -> Section:
    """Measure the git source, and each baseline with the same changes."""
    count, rounds = (100_000, 20) if scale.long else (10_000, 10)

    def changes(part: int) -> range:
        return range(part * rounds, (part + 1) * rounds)  # each part changes other files

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        upstream = _Upstream.of(folder / "upstream.git", count)
        place = Workspace(folder, _source(upstream) | {"SOURCE_INTERVAL": "1h"} | _hook())
        idle = child("bench.git", str(folder))
        with simulator_process(folder, delay=600.0) as assure:
            fetched = _changed(place, assure, upstream, changes(0), lambda _: _posted(place))
            checkout = folder / "checkout"
            _run("git", "clone", "-q", f"file://{upstream.folder}", str(checkout), at=folder)
            at = _fresh(place, checkout)
            written = _changed(at, assure, None, changes(1), lambda name: _write(checkout, name))
            at = _fresh(place, checkout)
            pulled = _changed(at, assure, upstream, changes(2), lambda _: _run("git", "pull", "-q", at=checkout))
        synced = [_checked_out(upstream, folder, number) for number in range(3)]
    sync = [statistics.median(values) for values in zip(*synced, strict=True)]
    aim = 1500.0 if scale.long else 700.0
    return Section(
        name="git",
        title=f"Git: a repository of {count:,} files in {_FOLDERS} folders, {rounds} commits of one file",
        columns=("wall ms", "CPU ms", "git commands", "files read"),
        rows=[
            ("resync, no new commit", (idle["wall"], idle["cpu"], idle["commands"], idle["read"])),
            ("bare `git ls-remote`", (idle["bare_wall"], idle["bare_cpu"], 1, None)),
            ("push and hook to the first call, git source", (*fetched, None, None)),
            ("change to the first call, folder", (*written, None, None)),
            ("push to the first call, `git pull` and folder", (*pulled, None, None)),
            ("push to a new checkout, as git-sync; no agent", (*sync, None, None)),
        ],
        ratios=[
            Ratio(
                name="git commands, and reads of request files and folders, of a resync",
                value=idle["commands"] + idle["read"],
                aim=1.0,
                most=True,
            ),
            Ratio(name="push and hook to the first call, p50 ms", value=fetched[0], aim=aim, most=True),
            Ratio(name="the same / `git pull` and folder", value=fetched[0] / pulled[0], aim=1.0, most=True),
        ],
    )


def _source(upstream: _Upstream) -> dict[str, str]:
    return {"SOURCE_URL": f"file://{upstream.folder}", "SOURCE_PATH": "specs"}


def _hook() -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"EVENTS_LISTEN": f"127.0.0.1:{free.getsockname()[1]}", "SOURCE_HOOK_SECRET": _SECRET}


def _fresh(place: Workspace, checkout: Path) -> Workspace:
    """The same folder without its store, and with a checkout as the folder of requests."""
    for path in place.store.parent.iterdir():
        if path.is_file():
            path.unlink()
    return Workspace(place.folder, {"SPECS_DIR": str(checkout / "specs")})


def _changed(
    place: Workspace,
    assure: SimulatorProcess,
    upstream: _Upstream | None,
    numbers: range,
    published: Callable[[str], object],
) -> tuple[float, float]:
    """The median times from a change to its first call, wall and CPU, in milliseconds.

    The CPU is that of the agent, of its child processes, and of `published`.
    """
    took, spent = [], []
    with place.running(assure.url) as agent:
        agent.output('"event": "scanned"')  # on a busy machine the agent may rest during the first scan
        agent.wait_until_idle()
        keys = Keys.load_or_create(place.store)
        for name in (f"person-{number}" for number in numbers):
            asked = reference(keys, name)
            if upstream is not None:
                upstream.commit({name: request(name)})
            before, began = _cpu(agent), time.time()
            published(name)
            created = eventually(lambda asked=asked: assure.send("times")["created"].get(asked))  # type: ignore[misc]
            took.append(1000 * (created - began))
            time.sleep(1.0)  # the rest of the scan
            spent.append(1000 * (_cpu(agent) - before))
    return statistics.median(took), statistics.median(spent)


def _cpu(agent: Running) -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_of_tree(agent.pid) + ended.ru_utime + ended.ru_stime


def _posted(place: Workspace) -> None:
    """Send the hook of GitHub."""
    body = b"{}"
    signature = hmac.digest(_SECRET.encode(), body, "sha256").hex()
    url = f"http://{place.settings['EVENTS_LISTEN']}/hooks/source"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"X-Hub-Signature-256": f"sha256={signature}"})):
        pass


def _write(checkout: Path, name: str) -> None:
    made = checkout / "made.tmp"
    made.write_text(request(name))
    made.rename(checkout / "specs" / _path(name))


def _checked_out(upstream: _Upstream, folder: Path, number: int) -> tuple[float, float]:
    """The milliseconds of wall and CPU of the fetch and a new checkout of a new commit, with a swapped link."""
    clone, link = folder / "sync", folder / "current"
    if not clone.exists():
        _run("git", "clone", "-q", "--bare", f"file://{upstream.folder}", str(clone), at=folder)
    upstream.commit({f"person-{number}": request(f"person-{number}") + f"# {number}\n"})
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _run("git", "fetch", "-q", "origin", "+main:main", at=clone)
    _run("git", "worktree", "add", "-q", "--detach", str(folder / f"tree-{number}"), "main", at=clone)
    made = folder / "link.tmp"
    made.symlink_to(f"tree-{number}")
    made.rename(link)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * wall, 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _path(name: str) -> str:
    return f"{int(name.rpartition('-')[2]) % _FOLDERS:02}/{name}.yaml"


def _run(*command: str, at: Path) -> None:
    subprocess.run(command, cwd=at, check=True, stdout=subprocess.DEVNULL)


def _resyncs(folder: Path) -> dict[str, float]:
    """Refresh a source that has nothing new. Count the commands of each refresh, and the files that it reads."""
    url = f"file://{folder}/upstream.git"
    given = settings(folder, "http://127.0.0.1:9", source_url=url, source_path="specs")
    given["state_url"] = f"sqlite:///{folder}/resync/agent.db"
    (folder / "resync").mkdir(mode=0o700)
    known = Settings(**given)
    source = GitSource.of(known)
    acted = source.refresh(None, None).head
    assert acted is not None
    counted = Counter[str]()
    counting = False

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "subprocess.Popen":
            counted["commands"] += 1
        elif counting and event in _READS:
            path = arguments[0]  # a descriptor instead of a path: git's own output
            text = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            name = os.fsdecode(text)
            counted["read"] += name.startswith(f"{known.source_folder}/") and "/mirror.git" not in name

    sys.addaudithook(count)
    agent, bare = [], []
    for _ in range(_RESYNCS):
        counting = True
        agent.append(_timed(lambda: source.refresh(acted, None)))
        counting = False
        bare.append(_timed(lambda: _run("git", "ls-remote", url, "refs/heads/main", at=folder)))
    (wall, spent), (bare_wall, bare_spent) = (map(statistics.median, zip(*runs, strict=True)) for runs in (agent, bare))
    return {
        "wall": wall,
        "cpu": spent,
        "bare_wall": bare_wall,
        "bare_cpu": bare_spent,
        "commands": counted["commands"] / _RESYNCS,
        "read": counted["read"] / _RESYNCS,
    }


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """The milliseconds of wall and CPU of the work and its child processes."""
    before, began = _used(), time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began), 1000 * (_used() - before)


def _used() -> float:
    """The CPU seconds of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    report(**_resyncs(Path(sys.argv[1])))
