"""Bare repositories whose commits are made of objects, without a work tree, so that they can contain any name."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.git import CLEAN_ENVIRONMENT

Content = str | bytes | None
"""The content of a file; None removes it."""

_ENVIRONMENT = CLEAN_ENVIRONMENT | {
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.test",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.test",
}


@dataclass(frozen=True)
class Signing:
    """A key that signs commits: a file (ssh), or the id of a key in `home` (openpgp)."""

    key: str
    form: str = "ssh"
    home: Path | None = None

    @property
    def options(self) -> list[str]:
        return ["-c", f"gpg.format={self.form}", "-c", f"user.signingKey={self.key}"]


class BareRepository:
    """A bare repository that a server can serve."""

    def __init__(self, folder: Path, form: str = "sha1") -> None:
        self.folder = folder
        if not (folder / "HEAD").exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "--bare", f"--object-format={form}", "-b", "main", ".")
            for name, value in {"allowFilter": "true", "allowAnySHA1InWant": "true"}.items():
                self.git("config", f"uploadpack.{name}", value)

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str, stdin: bytes = b"", **variables: str) -> str:
        """The output of a git command in the repository."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            input=stdin,
            env=_ENVIRONMENT | {"GIT_DIR": str(self.folder)} | variables,
            capture_output=True,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def store(self, content: bytes, kind: str = "blob") -> str:
        """Write an object as it is, however wrong; its name."""
        return self.git("hash-object", "-w", "--literally", "-t", kind, "--stdin", stdin=content)

    def tree(self, entries: Iterable[tuple[str, bytes, str]]) -> str:
        """Write a tree exactly as given: mode, name and object of each entry, perhaps invalid; its name."""
        packed = (mode.encode() + b" " + name + b"\0" + bytes.fromhex(of) for mode, name, of in entries)
        return self.store(b"".join(packed), "tree")

    def head(self, branch: str = "main") -> str | None:
        """The commit of a branch."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None

    def commit(
        self,
        files: Mapping[str, Content],
        *,
        branch: str = "main",
        at: int | None = None,
        signing: Signing | None = None,
        parents: list[str] | None = None,
        links: Mapping[str, str] | None = None,
        message: str = "a change",
        by: str = "Somebody",
    ) -> str:
        """Change files on a branch; the commit. `at` is the time of author and committer, in seconds.

        Without `parents`, the parent is the head of the branch. Files that are not named stay as in the first parent.
        """
        head = self.head(branch)
        before = [head] if parents is None and head else parents or []
        index = str(self.folder / "index.of-tests")
        self.git("read-tree", *(before[:1] or ["--empty"]), GIT_INDEX_FILE=index)
        self._stage(files, "100644", index)
        self._stage(links or {}, "120000", index)
        tree = self.git("write-tree", GIT_INDEX_FILE=index)
        return self.commit_tree(tree, before, branch=branch, at=at, signing=signing, message=message, by=by)

    def commit_tree(
        self,
        tree: str,
        parents: list[str],
        *,
        branch: str = "main",
        at: int | None = None,
        signing: Signing | None = None,
        message: str = "a change",
        by: str = "Somebody",
    ) -> str:
        """Commit a tree, and let a branch lead to it; the commit."""
        variables = {"GIT_AUTHOR_NAME": by, "GIT_COMMITTER_NAME": by}
        if at is not None:
            variables |= {"GIT_AUTHOR_DATE": f"@{at} +0000", "GIT_COMMITTER_DATE": f"@{at} +0000"}
        if signing is not None and signing.home is not None:
            variables["GNUPGHOME"] = str(signing.home)
        options, sign = (signing.options, ["-S"]) if signing is not None else ([], [])
        ancestors = [part for parent in parents for part in ("-p", parent)]
        made = self.git(*options, "commit-tree", *sign, *ancestors, "-m", message, tree, **variables)
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def _stage(self, files: Mapping[str, Content], mode: str, index: str) -> None:
        lines = []
        for path, content in files.items():
            if content is None:
                lines.append(f"0 {'0' * 40}\t{path}\0")
            else:
                lines.append(
                    f"{mode} {self.store(content.encode() if isinstance(content, str) else content)}\t{path}\0"
                )
        self.git("update-index", "-z", "--index-info", stdin="".join(lines).encode(), GIT_INDEX_FILE=index)
