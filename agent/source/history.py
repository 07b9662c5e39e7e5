"""Where a request file comes from, as git says: the commit that is checked out, whether the file is as it says, and who
committed it last. Read by the `git` command, when there is one and the folder is in a work tree.

To know it is worth a moment and never a request: whatever goes wrong, or takes too long, is "not known".
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

PATIENCE = 1.0  # seconds for all that is asked in one scan

_FEW = 100  # up to so many files are asked for by name; for more, git looks at the whole folder
_LONGEST_NAME = 200
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# No lock that another git would meet, no question to a terminal, nothing that the repository's settings would start.
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}
_OPTIONS = ("--no-pager", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
_STATUS = (
    "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored=traditional",
    "--ignore-submodules=all", "--",
)  # fmt: skip
_LOG = ("log", "--format=%x01%an", "--name-only", "-z", "--no-renames", "--relative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a file comes from; None is "not known". `dirty`: it differs from the commit, or is not in it."""

    commit: str | None = None
    dirty: bool | None = None
    author: str | None = None


class Checkout:
    """A folder that may be in a git work tree."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self._folder, self._patience = folder, patience

    def visit(self) -> "Visit":
        """What git says now; what was asked once is not asked again in the same visit."""
        return Visit(self._folder, self._patience)


class Visit:
    """The questions of one scan, which together take no longer than `patience`. Blocking."""

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder, self._left = folder, patience
        self._git = shutil.which("git")
        self._head: tuple[str, str] | None = None  # commit, and the folder's path in the work tree with a slash
        self._asked = False
        self._everywhere: tuple[frozenset[str] | None, Mapping[str, str]] | None = None  # of the whole folder

    def about(self, files: Collection[str]) -> Mapping[str, Origin]:
        """The origin of each file, by its path below the folder. Never raises."""
        if not self._asked:
            self._asked, self._head = True, self._read_head()
        if self._head is None:
            return {}
        if len(files) > _FEW or self._everywhere is not None:
            if self._everywhere is None:
                self._everywhere = self._dirty(["."]), self._authors(["."])
            dirty, authors = self._everywhere
        else:
            dirty, authors = self._dirty(files), self._authors(files)
        return {file: self._origin(file, dirty, authors) for file in files}

    def _origin(self, file: str, dirty: frozenset[str] | None, authors: Mapping[str, str]) -> Origin:
        assert self._head is not None
        known = dirty is not None and "\\" not in file  # a name that is not shown as it is cannot be found again
        return Origin(
            commit=self._head[0], dirty=file in dirty if dirty is not None and known else None, author=authors.get(file)
        )

    def _read_head(self) -> tuple[str, str] | None:
        commit, _, prefix = self._ask("rev-parse", "HEAD", "--show-prefix")[0].partition("\n")
        return (commit, prefix.removesuffix("\n")) if _COMMIT.fullmatch(commit) else None

    def _dirty(self, files: Collection[str]) -> frozenset[str] | None:
        """The files that are changed, untracked or ignored; None when that took too long."""
        assert self._head is not None
        told, whole = self._ask(*_STATUS, *files)
        prefix = self._head[1]
        return frozenset(line[3:].removeprefix(prefix) for line in told.split("\0") if line) if whole else None

    def _authors(self, files: Collection[str]) -> Mapping[str, str]:
        """Who committed each file last, as far as there was time to find out."""
        told, whole = self._ask(*_LOG, *(["-1"] if len(files) == 1 and "." not in files else []), "--", *files)
        authors: dict[str, str] = {}
        author = ""
        words = told.split("\0")
        for word in (one.removeprefix("\n") for one in (words if whole else words[:-1])):
            if word.startswith("\x01"):
                author = "".join(c for c in word[1:] if c.isprintable())[:_LONGEST_NAME]
            elif word and author:
                authors.setdefault(word, author)
        return authors

    def _ask(self, *words: str) -> tuple[str, bool]:
        """What git answers, and whether that is all of it."""
        if self._git is None or self._left <= 0:
            return "", False
        with self._timed():
            try:
                done = subprocess.run(  # noqa: S603 - no shell
                    [self._git, *_OPTIONS, *words],
                    cwd=self._folder,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    timeout=self._left,
                    check=False,
                )
            except subprocess.TimeoutExpired as slow:
                return os.fsdecode(slow.stdout or b""), False
            except (OSError, ValueError):
                return "", False
        return (os.fsdecode(done.stdout), True) if done.returncode == 0 else ("", False)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        finally:
            self._left -= monotonic() - began


def _environment() -> dict[str, str]:
    """Ours without what would lead git to another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
