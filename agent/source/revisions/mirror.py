"""The bare mirror of the repository, next to the state file. Only its own process uses it, one thread at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.source.revisions.access import RepositoryAccess


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """An entry of a tree: `mode` as in git (0o100644, 0o100755, 0o120000, 0o160000), `blob` in hexadecimal."""

    path: bytes  # below the folder that was asked for, with slashes
    mode: int
    blob: str


class Mirror:
    """The mirror. Every method blocks. Raises FetchError."""

    def __init__(self, folder: Path, access: RepositoryAccess, borrowed: Path | None = None) -> None:
        """`borrowed` is the object folder of another mirror, whose objects need not be fetched again (for `plan`)."""

    def open(self) -> None:
        """Create the mirror, or clean up after a process that was killed. Writes the configuration anew."""
        raise NotImplementedError

    def remote_head(self) -> str:
        """The commit that the branch has on the server now: one `ls-remote`."""
        raise NotImplementedError

    def fetch(self, commit: str | None = None) -> str:
        """Fetch the branch, or this commit, without blobs where the server allows it. Returns the commit."""
        raise NotImplementedError

    def keep(self, commit: str) -> None:
        """Protect this commit and its history from clean-up. Replaces the commit that was kept before."""
        raise NotImplementedError

    def has(self, commit: str) -> bool:
        """True if the mirror has this commit and all of its history."""
        raise NotImplementedError

    def is_ancestor(self, commit: str, descendant: str) -> bool:
        """True if `descendant` is this commit or descends from it."""
        raise NotImplementedError

    def commits_since(self, commit: str | None, head: str, path: str) -> list[str]:
        """The commits of `head` that are not in the history of `commit` and that change something below `path`.

        Oldest first. A merge is included if its folder differs from that of every parent. `path` is empty for all.
        """
        raise NotImplementedError

    def committed_at(self, commit: str) -> float:
        """The committer's time of a commit, in seconds since the epoch."""
        raise NotImplementedError

    def folder_exists(self, commit: str, path: str) -> bool:
        """True if the commit has a folder of this path. The empty path always exists."""
        raise NotImplementedError

    def entries(self, commit: str, path: str) -> Iterator[TreeEntry]:
        """Every file, link and submodule below the folder."""
        raise NotImplementedError

    def changed_entries(self, old: str, new: str, path: str) -> Iterator[tuple[bytes, TreeEntry | None]]:
        """The paths that differ between both commits, each with its entry in `new`; None if it is gone."""
        raise NotImplementedError

    def fetch_blobs(self, blobs: Sequence[str]) -> None:
        """Fetch those of these blobs that the mirror lacks, in one exchange."""
        raise NotImplementedError

    def contents(self, blobs: Iterable[str], limit: int) -> Iterator[tuple[str, bytes | int]]:
        """The content of each blob; its size instead if that is above `limit` bytes."""
        raise NotImplementedError

    @property
    def objects(self) -> Path:
        """The folder of objects, which `agent.source.git_objects.Objects` can read."""
        raise NotImplementedError
