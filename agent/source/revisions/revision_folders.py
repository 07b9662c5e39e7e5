"""The exported folders of revisions: `REVISION/` for each of the last two, and the link `current` to one of them.

A folder that is being written has a hidden name and is never scanned. The link is replaced in one step.

The folder of a new revision is that of the revision before the current one, with the differences applied. Both share
their files by hard links. A file that did not change remains the same file, so the next scan does not read it. After
the first revision, `REVISION.spare` is a copy of its folder for the second one.

Nothing is synced: after a crash of the machine, every folder is exported again.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path

from agent.core.source_revision import FetchFailure
from agent.platform.clock import boot_id
from agent.platform.files import write_atomically
from agent.source.revisions.export import apply, clone, contains_link
from agent.source.revisions.fetch_errors import FetchError, as_fetch_errors
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.selection import compare, select_all, select_changes

_SPARE = ".spare"
_WRITING = ".writing"
_NEW_LINK = ".current"
_EXPORTED = re.compile(rf"(?:[0-9a-f]{{40}}|[0-9a-f]{{64}})(?:{re.escape(_SPARE)})?")
_RETRIED = (FetchFailure.DAMAGED, FetchFailure.OTHER)


class RevisionFolders:
    """The folders of one source. Every method blocks. Raises FetchError."""

    def __init__(self, folder: Path, path: str) -> None:
        """`path` is SOURCE_PATH: the folder of the repository that is exported."""
        self.current = folder / "current"  # leads to the exported folder of the current revision
        self._folder, self._path = folder, path
        self._writing = folder / _WRITING

    def open(self) -> None:
        """Remove what an ended process left half written, and every folder that was written before the last boot.

        The same applies to folders of another SOURCE_PATH, and of another version of the agent.
        """
        with as_fetch_errors(self._folder):
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._remove(self._writing)
            (self._folder / _NEW_LINK).unlink(missing_ok=True)
            marker, boot = self._folder / "exported", boot_id()
            path = hashlib.sha256(os.fsencode(self._path)).hexdigest()
            ours = f"{boot}\n{version('assure-agent')}\n{path}\n".encode()
            if not boot or not marker.is_file() or marker.read_bytes() != ours:
                self.current.unlink(missing_ok=True)
                self._keep(())
                write_atomically(marker, ours)

    def published(self) -> str | None:
        """The commit that `current` leads to."""
        try:
            commit = str(self.current.readlink())
        except OSError:
            return None
        return commit if _EXPORTED.fullmatch(commit) and (self._folder / commit).is_dir() else None

    def publish(self, mirror: Mirror, commit: str) -> None:
        """Export a commit, unless it is exported already, and let `current` lead to it."""
        before = self.published()
        if before != commit:
            if not (self._folder / commit).is_dir():
                self._export(mirror, commit)
            with as_fetch_errors(self._folder):
                new = self._folder / _NEW_LINK
                new.unlink(missing_ok=True)
                new.symlink_to(commit)
                new.replace(self.current)
                self._keep((commit, before or commit))
        self._spare()

    def _export(self, mirror: Mirror, commit: str) -> None:
        if (base := self._spare()) is not None:
            try:
                self._update(mirror, base, commit)
            except FetchError as error:  # perhaps the old folder, or the old commit, is damaged
                if error.failure not in _RETRIED:
                    raise
            else:
                return
        changes = compare({}, select_all(mirror, commit, self._path))
        with self._new_folder(commit):
            self._writing.mkdir(0o700)
            apply(mirror, changes, self._writing)

    def _update(self, mirror: Mirror, base: str, commit: str) -> None:
        """Make the folder of a commit from that of an older one."""
        old, changes = base.removesuffix(_SPARE), None
        with as_fetch_errors(self._folder):
            has_links = contains_link(str(self._folder / base))
        if not has_links:
            changes = select_changes(mirror, old, commit, self._path)
        if changes is None:
            before = select_all(mirror, old, self._path)
            changes = compare(before, select_all(mirror, commit, self._path))
        with self._new_folder(commit):
            (self._folder / base).rename(self._writing)
            apply(mirror, changes, self._writing, self.current.resolve())

    @contextlib.contextmanager
    def _new_folder(self, commit: str) -> Iterator[None]:
        """Give the folder that is written in this context its name, or remove it after a failure."""
        try:
            with as_fetch_errors(self._folder, impossible=FetchFailure.DAMAGED):
                yield
                self._writing.rename(self._folder / commit)
        finally:
            with as_fetch_errors(self._folder):
                self._remove(self._writing)

    def _spare(self) -> str | None:
        """The name of the folder besides the current one. It is created if necessary and possible."""
        current = self.published()
        if current is None:
            return None
        for name in self._exported():
            if name != current:
                return name
        spare = current + _SPARE
        try:
            clone(self._folder / current, self._writing)
            self._writing.rename(self._folder / spare)
        except OSError:  # the file system has no hard links, or no space
            with as_fetch_errors(self._folder):
                self._remove(self._writing)
            return None
        return spare

    def _exported(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return [entry.name for entry in entries if _EXPORTED.fullmatch(entry.name)]

    def _keep(self, names: Collection[str]) -> None:
        for name in self._exported():
            if name not in names:
                self._remove(self._folder / name)

    def _remove(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
