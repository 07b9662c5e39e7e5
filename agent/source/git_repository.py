"""Read a git repository as files: the agent executes nothing, reads no git settings, fetches and writes nothing.

dulwich receives only the folder of objects, never a repository. So it has no configuration, hook, filter, helper or
remote. The owner and the mode of the files do not matter, because no content can start a program. `GIT_*` variables are
ignored.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dulwich.object_format import SHA1, SHA256

from agent.platform.git_index import git_folder, parse_index
from agent.source.git_objects import Objects

_POINTER_BYTES = 4096  # of a ref and a `commondir`
_SHALLOW_BYTES = 16 << 20
_REFS_BYTES = 64 << 20
_INDEX_BYTES = 512 << 20
_LONGEST_CHAIN = 5  # symbolic refs in a row, as in git
_OF_WORK_TREE = ("HEAD", "refs/worktree/", "refs/bisect/", "refs/rewritten/")
_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unreadable(Exception):
    """A repository that exists and cannot be read. `hint` is the remedy, an imperative."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The work tree that contains a folder. All paths are resolved."""

    top: str  # of the work tree
    prefix: str  # the folder below `top`, empty or with a slash at its end
    git_dir: str  # HEAD and index of this work tree
    common: str  # refs and objects, shared by all work trees
    shallow: frozenset[bytes] = field(repr=False)  # commits without their parents, in hexadecimal

    def head(self) -> bytes | None:
        """The checked-out commit in hexadecimal; None before the first commit."""
        if os.path.isdir(f"{self.common}/reftable"):  # noqa: PTH112 - no Path objects here
            raise Unreadable(
                f"{self.common} keeps its refs as a reftable, which the agent does not read",
                "convert it: git refs migrate --ref-format=files",
            )
        name, found = b"HEAD", b""
        for _ in range(_LONGEST_CHAIN):
            value = self._ref(os.fsdecode(name))
            if value is None:
                return None
            found = value
            if not found.startswith(b"ref:"):
                break
            name = found.removeprefix(b"ref:").strip()
            if not name.startswith(b"refs/") or b".." in name or b"\0" in name:
                raise Unreadable(f"HEAD of {self.git_dir} cannot be followed", "check it: git fsck")
        if _ID.fullmatch(found) is None:
            raise Unreadable(f"HEAD of {self.git_dir} names no commit", "check it: git fsck")
        return found

    def _ref(self, name: str) -> bytes | None:
        """The value of a ref, from its own file or from `packed-refs`. dulwich would block on a FIFO or a device."""
        folder = self.git_dir if name.startswith(_OF_WORK_TREE) else self.common
        path = f"{folder}/{name}"
        if not os.path.isdir(path) and (loose := _content(path, _POINTER_BYTES)) is not None:  # noqa: PTH112
            return loose.strip()
        packed = _content(f"{self.common}/packed-refs", _REFS_BYTES) or b""
        line = re.search(rb"^([0-9a-f]+) %s$" % re.escape(os.fsencode(name)), packed, re.MULTILINE)
        return line[1] if line is not None else None

    def objects(self, head: bytes) -> Objects:
        """The objects, to be closed by the caller. The length of `head` identifies the hash function."""
        return Objects(f"{self.common}/objects", SHA1 if len(head) == SHA1.hex_length else SHA256)

    @property
    def is_partial(self) -> bool:
        """True for a partial clone: objects may be missing, and the agent does not fetch them."""
        try:
            return any(Path(f"{self.common}/objects/pack").glob("*.promisor"))
        except OSError:
            return False

    def tracked(self) -> int:
        """The number of tracked files below the folder. Raises Unreadable."""
        path = f"{self.git_dir}/index"
        prefix = os.fsencode(self.prefix)
        content = _content(path, _INDEX_BYTES)
        if content is None:
            return 0
        try:
            names, extensions = parse_index(content)  # a conflict has a name up to three times
        except ValueError as error:
            raise Unreadable(f"{path} is damaged", "rebuild it: git read-tree HEAD") from error
        if not extensions.isdisjoint((b"link", b"sdir")):
            raise Unreadable(
                f"{path} is split or sparse, which the agent does not read",
                "git update-index --no-split-index; git sparse-checkout reapply --no-sparse-index",
            )
        return sum(name.startswith(prefix) for name in names)


def find(folder: Path) -> Repository | None:
    """The repository whose work tree contains the folder, or None. Raises Unreadable.

    As git does, it searches `.git` in the folder and above it, on the same file system. Unlike git, it treats a bare
    repository as an ordinary folder, and does not read `core.worktree`.
    """
    try:
        here = os.path.realpath(folder, strict=True)
        device = os.stat(here).st_dev  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(error, str(folder)) from None
    top = here
    while True:
        try:
            if os.stat(top).st_dev != device:  # noqa: PTH116
                return None
            if (found := _at(top, here)) is not None:
                return found
        except OSError as error:
            raise _unreadable(error, f"{top}/.git") from None
        above = os.path.dirname(top)  # noqa: PTH120
        if above == top:
            return None
        top = above


def _at(top: str, here: str) -> Repository | None:
    """The repository whose work tree has this top folder, or None."""
    there = os.path.join(top, ".git")  # noqa: PTH118
    try:
        git_dir = git_folder(top)
    except ValueError as error:
        raise Unreadable(str(error), f"correct or remove {there}") from None
    if git_dir is None:
        return None
    shared = _content(f"{git_dir}/commondir", _POINTER_BYTES)
    common = git_dir
    if shared is not None:
        common = os.path.realpath(os.path.join(git_dir, os.fsdecode(shared.rstrip(b"\r\n"))))  # noqa: PTH118
    if not _exists(f"{git_dir}/HEAD") or not _exists(f"{common}/objects"):
        if os.path.isdir(there):  # noqa: PTH112
            return None
        raise Unreadable(f"{there} names {git_dir}, which is not a git repository", "git worktree repair")
    _refuse_planted(top, git_dir)
    _refuse_planted(top, common)
    cut = _content(f"{common}/shallow", _SHALLOW_BYTES) or b""
    prefix = "" if here == top else here[len(top.rstrip("/")) + 1 :] + "/"
    return Repository(top=top, prefix=prefix, git_dir=git_dir, common=common, shallow=frozenset(cut.split()))


def _refuse_planted(top: str, place: str) -> None:
    """Refuse a repository inside the work tree: its files come from everybody who may push, those in `.git` do not."""
    inside = top.rstrip("/") + "/"
    if (place + "/").startswith(inside) and not (place + "/").startswith(inside + ".git/"):
        raise Unreadable(
            f"{inside}.git leads to {place}, which is part of the work tree", "move the repository out of the work tree"
        )


def _exists(path: str) -> bool:
    """Raises OSError if the system does not answer that."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _content(path: str, limit: int) -> bytes | None:
    """The content of a regular file; None if it does not exist. A FIFO does not block."""
    try:
        file = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(error, path) from None
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Unreadable(f"{path} is not a regular file", f"remove {path}")
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise Unreadable(f"{path} is larger than {limit} bytes", "check it: git fsck")
    return content


def _unreadable(error: OSError, path: str) -> Unreadable:
    return Unreadable(
        f"{error.filename or path} cannot be read: {error.strerror}",
        "let the agent's user read the checkout and its .git folder (chmod, chown, or a group)",
    )
