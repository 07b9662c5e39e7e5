"""Measures the search for the last author of files: `python -m bench.git_provenance FOLDER`.

Creates a repository of 10,000 commits and 100,000 files in FOLDER, and asks for one file, for 100 and for all.
Compares the agent's reader (dulwich) with libgit2 (pygit2, if it is installed) and with the `git` command. CPU seconds
come first in the output, because the machine may be busy. docs/performance.md has the results.
"""

import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.source.git_objects import Objects
from agent.source.git_provenance import GitCheckout
from agent.source.git_repository import find

FILES, COMMITS, IN_A_FOLDER = 100_000, 10_000, 100


def name(number: int) -> str:
    """The path of a file below `specs/`."""
    return f"{number // IN_A_FOLDER:04d}/{number:06d}.yaml"


def make(folder: Path) -> None:
    """Commit all files at first. Each later commit changes one of them."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    chance = random.Random(1)
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        for commit in range(COMMITS):
            who = f"A{commit % 50} <a@example.test> {1_700_000_000 + commit} +0000"
            importer.stdin.write(f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata 1\nx\n".encode())
            for number in range(FILES) if commit == 0 else [chance.randrange(FILES)]:
                text = f"v{commit} {number}"
                importer.stdin.write(f"M 100644 inline specs/{name(number)}\ndata {len(text)}\n{text}\n".encode())
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=folder, check=True)


def elapsed(work: Callable[[], object]) -> tuple[float, object]:
    """The CPU seconds of the work and its child processes, and its result."""
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result = work()
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True)), result


def measure_read(folder: Path, files: list[str], patience: float) -> str:
    """The number of authors that the agent finds."""
    origins = GitCheckout(folder / "specs", patience).query(files).provenance(files)
    dirty = sum(one.dirty is not None for one in origins.values())
    return f"{sum(one.author is not None for one in origins.values())} authors, {dirty} compared"


def commits_alone(folder: Path) -> str:
    """Read every commit with its first tree, as the agent does."""
    repository = find(folder)
    head = repository.head() if repository is not None else None
    assert repository is not None
    assert head is not None
    count = 0
    with repository.objects(head) as objects:
        assert isinstance(objects, Objects)
        while True:
            commit = objects.commit(head)
            objects.folder(commit.tree)
            count += 1
            if not commit.parents:
                return f"{count} commits"
            head = commit.parents[0]


def with_libgit2(folder: Path) -> str:
    """The same work with libgit2."""
    import pygit2  # type: ignore[import-not-found, unused-ignore]

    repository = pygit2.Repository()
    repository.set_odb(pygit2.Odb(str(folder / ".git/objects")))
    commit = repository[(folder / ".git/refs/heads/main").read_text().strip()]
    count = 1
    while commit.parent_ids:
        len(commit.tree)
        commit = repository[commit.parent_ids[0]]
        count += 1
    return f"{count} commits"


def main() -> None:
    """Print one line for each measurement."""
    folder = Path(sys.argv[1]).resolve()
    if not (folder / ".git/refs/heads/main").exists():
        make(folder)
    files = [name(number) for number in range(FILES)]
    oldest, some = files[:1], files[:: FILES // 100]

    def run(*words: str) -> object:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True)

    rows: list[tuple[str, Callable[[], object]]] = [
        ("dulwich: every commit and its first tree", lambda: commits_alone(folder)),
        ("libgit2: every commit and its first tree", lambda: with_libgit2(folder)),
        ("agent: one file", lambda: measure_read(folder, oldest, 600)),
        ("agent: 100 files", lambda: measure_read(folder, some, 600)),
        ("agent: all files, patience 1 s", lambda: measure_read(folder, files, 1)),
        ("agent: all files", lambda: measure_read(folder, files, 600)),
        ("git log -1, one file", lambda: run("log", "-1", "--", f"specs/{oldest[0]}")),
        ("git log, all files", lambda: run("log", "--name-only", "--", "specs")),
        ("git status", lambda: run("status", "--porcelain")),
    ]  # fmt: skip
    for title, work in rows:
        began = time.monotonic()
        try:
            cpu, result = elapsed(work)
        except ImportError:
            print(f"{title}: not installed")
            continue
        said = result if isinstance(result, str) else ""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{title}: {cpu:.2f} s CPU, {time.monotonic() - began:.2f} s, peak {peak} MiB {said}", flush=True)


if __name__ == "__main__":
    main()
