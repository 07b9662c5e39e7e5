"""The exported folders of revisions: `REVISION/` for each of the last two, and the link `current` to one of them.

A folder that is being written has a hidden name and is never scanned. The link is replaced in one step.
"""

from pathlib import Path

from agent.source.revisions.mirror import Mirror


class RevisionFolders:
    """The folders of one source. Every method blocks. Raises FetchError."""

    def __init__(self, folder: Path, path: str) -> None:
        """`path` is SOURCE_PATH: the folder of the repository that is exported."""
        self.current = folder / "current"  # leads to the exported folder of the current revision

    def open(self) -> None:
        """Remove what an ended process left half written, and every folder that was written before the last boot."""
        raise NotImplementedError

    def published(self) -> str | None:
        """The commit that `current` leads to."""
        raise NotImplementedError

    def publish(self, mirror: Mirror, commit: str) -> None:
        """Export a commit, unless it is exported already, and let `current` lead to it."""
        raise NotImplementedError
