"""Bare repositories whose trees are made entry by entry, so that they can contain what git itself would not commit."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.mirror import Mirror

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.test",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.test",
}

FILE, LINK, FOLDER, SUBMODULE = "100644", "120000", "40000", "160000"
Link = type("Link", (bytes,), {})  # the target of a link
Submodule = type("Submodule", (bytes,), {})
Files = Mapping[bytes, bytes]  # by path; a value is a content, a Link or a Submodule


class Upstream:
    """A bare repository, as a server has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True, env=ENVIRONMENT)
        self.git("config", "uploadpack.allowFilter", "true")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")

    @property
    def url(self) -> str:
        """Its address."""
        return f"file://{self.path}"

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of a git command."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, input=stdin, capture_output=True, check=True, env=ENVIRONMENT
        )
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        """Write a file."""
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, entries: Sequence[tuple[str, bytes, str]]) -> str:
        """Write a folder exactly as given: mode, name and object of each entry, perhaps invalid."""
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(blob) for mode, name, blob in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)

    def commit(self, tree: str, *parents: str) -> str:
        """Commit a tree, and let the branch lead to it."""
        options = [word for parent in parents for word in ("-p", parent)]
        commit = self.git("commit-tree", tree, *options, "-m", "a change")
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def head(self) -> str | None:
        """The commit of the branch."""
        done = subprocess.run(
            ["git", "rev-parse", "-q", "--verify", "refs/heads/main"], cwd=self.path, capture_output=True, check=False
        )
        return done.stdout.decode().strip() or None

    def push(self, files: Files, *, replace: bool = False) -> str:
        """Commit exactly these files after the head of the branch, or instead of all history."""
        lines, changes = [], []
        for number, (path, content) in enumerate(files.items(), 1):
            quoted = b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
            if isinstance(content, Submodule):
                changes.append(b"M 160000 " + b"1" * 40 + b" " + quoted)
                continue
            lines.append(b"blob\nmark :%d\ndata %d\n%b\n" % (number, len(content), content))
            mode = b"120000" if isinstance(content, Link) else b"100644"
            changes.append(b"M %b :%d %b" % (mode, number, quoted))
        parent = None if replace else self.head()
        start = b"from %b\n" % parent.encode() if parent else b""
        if parent is None:
            lines.append(b"reset refs/heads/main\n\n")
        lines.append(
            b"commit refs/heads/main\ncommitter S <s@example.test> %d +0000\ndata 1\nx\n" % (1_700_000_000 + len(files))
        )
        lines.append(start + b"deleteall\n" + b"\n".join(changes) + b"\n")
        self.git("fast-import", "--quiet", "--force", stdin=b"".join(lines))
        head = self.head()
        assert head is not None
        return head


def mirror_of(upstream: Upstream, folder: Path) -> Mirror:
    """An open mirror with the head of the branch."""
    mirror = Mirror(folder / "mirror.git", RepositoryAccess(url=upstream.url, branch="main"))
    mirror.open()
    mirror.fetch()
    return mirror


def contents(root: Path) -> dict[bytes, object]:
    """Everything below a folder: the content of a file, the target of a link, and None for a folder."""
    found: dict[bytes, object] = {}
    for folder, folders, names in os.walk(os.fsencode(root)):
        for name in folders + names:
            path = os.path.join(folder, name)  # noqa: PTH118 - bytes
            below = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):  # noqa: PTH114
                found[below] = Link(os.readlink(path))  # noqa: PTH115
            elif os.path.isdir(path):  # noqa: PTH112
                found[below] = None
            elif os.path.getsize(path) > 1 << 20:  # noqa: PTH202
                found[below] = os.path.getsize(path)  # noqa: PTH202
            else:
                with open(path, "rb") as file:  # noqa: PTH123
                    found[below] = file.read()
    return found
