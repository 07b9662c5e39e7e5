"""Bare repositories whose commits contain any path, and the folders to which they are exported."""

import os
from collections.abc import Mapping
from pathlib import Path

from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.mirror import Mirror
from tests.support.bare_repository import BareRepository

FILE, LINK, FOLDER, SUBMODULE = "100644", "120000", "40000", "160000"
Link = type("Link", (bytes,), {})  # the target of a link
Submodule = type("Submodule", (bytes,), {})
Files = Mapping[bytes, bytes]  # by path; a value is a content, a Link or a Submodule


class Upstream(BareRepository):
    """A bare repository, as a server has it, whose commits contain exactly the files that a test names."""

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
