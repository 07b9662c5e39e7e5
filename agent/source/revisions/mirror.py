"""The bare mirror of the repository, next to the state file. Only its own process uses it, one thread at a time."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent.core.source_revision import FetchFailure, is_object_id
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError, failure_of
from agent.source.revisions.git_process import Bounds, Git
from agent.source.revisions.mirror_folder import MirrorFolder
from agent.source.revisions.transport import KEPT, VERIFIED, Transport

_EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_MOST_ENTRIES = 5_000_000  # of one folder with all folders below it


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
        self._folder = MirrorFolder(folder, access, borrowed)
        self._git = Git(folder)
        self._transport = Transport(self._folder, self._git, access)
        self._bounds = Bounds(seconds=access.timeout)

    def open(self) -> None:
        """Create the mirror, or clean up after a process that was killed. Writes the configuration again."""
        self._folder.open()
        self._transport.check()
        self._transport.mend()

    def remote_head(self) -> str:
        """The commit that the branch has on the server now: one `ls-remote`."""
        return self._transport.head()

    def fetch(self, commit: str | None = None) -> str:
        """Fetch the branch, or this commit, without blobs where the server allows it. Returns the commit."""
        if commit is not None and not is_object_id(commit):
            raise FetchError(FetchFailure.NOT_FOUND, f"{commit!r} is not the full name of a commit")
        return self._transport.fetch(commit)

    def keep(self, commit: str) -> None:
        """Protect this commit and its history from clean-up. Replaces the commit that was kept before."""
        self._read("update-ref", "--no-deref", KEPT, _named(commit))

    def has(self, commit: str) -> bool:
        """True if the mirror has this commit and all of its history."""
        arguments = ("rev-list", "--quiet", f"{_named(commit)}^{{commit}}", "--not", *VERIFIED)
        _, code = self._read(*arguments, codes=(0, 128))
        return code == 0

    def is_ancestor(self, commit: str, descendant: str) -> bool:
        """True if `descendant` is this commit or descends from it."""
        arguments = ("merge-base", "--is-ancestor", _named(commit), _named(descendant))
        _, code = self._read(*arguments, codes=(0, 1, 128))
        if code == 128 and not self.has(descendant):
            raise FetchError(FetchFailure.DAMAGED, f"the history of {descendant} is not complete")
        return code == 0

    def commits_since(self, commit: str | None, head: str, path: str) -> list[str]:
        """The commits of `head` that are not in the history of `commit` and that change something below `path`.

        Oldest first. A merge is included if its folder differs from that of every parent. `path` is empty for all.
        """
        folder = _relative(path)
        arguments = ["rev-list", "--full-history", "--topo-order", "--reverse", "--no-commit-header", "--format=%H %P"]
        arguments += [_named(head), *([f"^{_named(commit)}"] if commit is not None else []), "--"]
        with self._reading([*arguments, *([folder] if folder else [])]) as output:
            families = [line.decode("ascii").split() for line in output]
        doubtful = [family for family in families if len(family) > 2 or not folder]
        trees = self._trees({one for family in doubtful for one in family}, folder)
        unchanged = {family[0] for family in doubtful if _brings_nothing(family, trees)}
        return [family[0] for family in families if family[0] not in unchanged]

    def committed_at(self, commit: str) -> float:
        """The committer's time of a commit, in seconds since the epoch."""
        output, _ = self._read("rev-list", "-1", "--no-commit-header", "--format=%ct", _named(commit))
        return float(output)

    def folder_exists(self, commit: str, path: str) -> bool:
        """True if the commit has a folder of this path. The empty path always exists."""
        return self._tree(commit, path) is not None

    def entries(self, commit: str, path: str) -> Iterator[TreeEntry]:
        """Every file, link and submodule below the folder."""
        tree = self._tree(commit, path)
        if tree is None:
            raise FetchError(FetchFailure.NO_PATH, f"{commit} has no folder {path!r}")
        with self._reading(["ls-tree", "-r", "-z", tree]) as output:
            for number, record in enumerate(_records(output)):
                if number >= _MOST_ENTRIES:
                    raise FetchError(FetchFailure.TOO_LARGE, f"the folder has more than {_MOST_ENTRIES} files")
                about, _, name = record.partition(b"\t")
                mode, _, blob = about.decode("ascii").split(" ")
                yield TreeEntry(name, int(mode, 8), blob)

    def changed_entries(self, old: str, new: str, path: str) -> Iterator[tuple[bytes, TreeEntry | None]]:
        """The paths that differ between both commits, each with its entry in `new`; None if it is gone."""
        trees = [self._tree(commit, path) or _EMPTY_TREE[len(commit)] for commit in (old, new)]
        with self._reading(["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", *trees]) as output:
            records = _records(output)
            for about in records:
                name = next(records)
                _, mode, _, blob, _ = about.decode("ascii").split(" ")
                yield name, TreeEntry(name, int(mode, 8), blob) if int(mode, 8) else None

    def fetch_blobs(self, blobs: Sequence[str]) -> None:
        """Fetch those of these blobs that the mirror lacks, in one exchange."""
        missing = [blob for blob, size in self._sizes(blobs) if size is None]
        if missing:
            self._transport.fetch_objects(missing)
            still = [blob for blob, size in self._sizes(missing) if size is None]
            if still:
                raise FetchError(FetchFailure.DAMAGED, f"the server did not send the object {still[0]}")

    def contents(self, blobs: Iterable[str], limit: int) -> Iterator[tuple[str, bytes | int]]:
        """The content of each blob; its size instead if that is above `limit` bytes."""
        small = []
        for blob, size in self._sizes(list(blobs)):
            if size is None:
                raise FetchError(FetchFailure.DAMAGED, f"the object {blob} is missing")
            if size > limit:
                yield blob, size
            else:
                small.append(blob)
        if not small:
            return
        with self._reading(["cat-file", "--batch", "--buffer"], _lines(small)) as output:
            for blob in small:
                answer = output.readline().split()
                if len(answer) != 3:
                    raise FetchError(FetchFailure.DAMAGED, f"the object {blob} cannot be read")
                yield blob, output.read(int(answer[2]))
                output.read(1)

    @property
    def objects(self) -> Path:
        """The folder of objects, which `agent.source.git_objects.Objects` can read."""
        return self._folder.objects

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
        codes: Sequence[int] = (0,),
    ) -> bytes:
        """The output of a git command that uses no network and ends with one of these codes. At most 16 MiB."""
        output, _ = self._read(*arguments, stdin=stdin, variables=variables, codes=codes)
        return output

    def _tree(self, commit: str, path: str) -> str | None:
        """The tree of a folder in a commit."""
        folder = _relative(path)
        if not folder:
            output, _ = self._read("rev-parse", "--verify", "--end-of-options", f"{_named(commit)}^{{tree}}")
            return output.decode("ascii").split()[-1]
        output, _ = self._read("ls-tree", "-d", "-z", _named(commit), "--", folder)
        about = output.partition(b"\t")[0].decode("ascii").split(" ")
        return about[2] if about[0] == "040000" else None

    def _trees(self, commits: Iterable[str], folder: str) -> dict[str, str]:
        """The tree of a folder in each of the commits that have it."""
        asked = list(commits)
        names = [f"{commit}:{folder}" if folder else f"{commit}^{{tree}}" for commit in asked]
        with self._reading(["cat-file", "--batch-check", "--buffer"], _lines(names)) as output:
            answers = [line.decode("utf-8", "replace").rsplit(" ", 2) for line in output]
        found = zip(asked, answers, strict=True)
        return {commit: answer[0] for commit, answer in found if is_object_id(answer[0])}

    def _sizes(self, blobs: Sequence[str]) -> Iterator[tuple[str, int | None]]:
        """The size of each blob in bytes; None if the mirror lacks it."""
        if not blobs:
            return
        with self._reading(["cat-file", "--batch-check", "--buffer"], _lines(map(_named, blobs))) as output:
            for blob in blobs:
                answer = output.readline().split()
                if len(answer) == 3 and answer[1] != b"blob":
                    raise FetchError(FetchFailure.DAMAGED, f"{blob} is not the content of a file")
                yield blob, int(answer[2]) if len(answer) == 3 else None

    def _read(
        self,
        *arguments: str,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
        codes: Sequence[int] = (0,),
    ) -> tuple[bytes, int]:
        """The output and the exit code of a command that uses no network. Another code is an error."""
        output, result = self._git.run(arguments, self._bounds, stdin=stdin, variables=variables)
        if result.stopped is not None or result.code not in codes:
            raise failure_of(result, FetchFailure.DAMAGED)
        return output, result.code

    @contextlib.contextmanager
    def _reading(self, arguments: Sequence[str], stdin: bytes = b"") -> Iterator[IO[bytes]]:
        """Yields the output of a command that uses no network, as it comes."""
        with self._git.start(arguments, self._bounds, stdin=stdin) as (output, result):
            yield output
        if result.failed:
            raise failure_of(result, FetchFailure.DAMAGED)


def _named(commit: str) -> str:
    """The name of an object. Raises FetchError for anything else, such as an option."""
    if not is_object_id(commit):
        raise FetchError(FetchFailure.DAMAGED, f"{commit!r} is not the name of a commit")
    return commit


def _relative(path: str) -> str:
    """The path without slashes at its ends."""
    if "\n" in path or "\0" in path:
        raise FetchError(FetchFailure.NO_PATH, f"{path!r} is not the path of a folder")
    return path.strip("/")


def _brings_nothing(family: Sequence[str], trees: dict[str, str]) -> bool:
    """True if a commit has the same tree as one of its parents, or, without parents, none."""
    commit, *parents = family
    known = {trees.get(parent) for parent in parents} or {None}
    return trees.get(commit) in known


def _records(output: IO[bytes]) -> Iterator[bytes]:
    """The records of an output, which end with NUL."""
    rest = b""
    while chunk := output.read(1 << 16):
        *records, rest = (rest + chunk).split(b"\0")
        yield from records


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()
